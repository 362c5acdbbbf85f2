"""Requests over gRPC: NVIDIA's client in a process of its own, KServe's stub here.

Both define the same messages, and protobuf takes each message once.
"""

import subprocess
import sys

import grpc
import numpy as np
import pytest
from kserve.protocol.grpc.grpc_predict_v2_pb2 import (
    ModelInferRequest,
    ModelMetadataRequest,
    ModelReadyRequest,
    RepositoryModelUnloadRequest,
    ServerReadyRequest,
)
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from servers import address, files, serving

from rkdo_plugin.export.serving.server import rpc

PROGRAM = """
import sys
import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput

at, given, out = sys.argv[1:]
arrays = np.load(given)
images = arrays["images"]
file = np.array([arrays["photo"].tobytes()], dtype=object)
found = {}
with InferenceServerClient(at) as client:
    assert client.is_server_live() and client.is_model_ready("small")
    for name, kind, array in (("image", "UINT8", images), ("encoded", "BYTES", file)):
        tensor = InferInput(name, list(array.shape), kind)
        tensor.set_data_from_numpy(array)
        found[name] = client.infer("small", [tensor]).as_numpy("embedding")
np.savez(out, **found)
"""


@pytest.fixture
def calls(server):
    with channel(server) as open_channel:
        yield GRPCInferenceServiceStub(open_channel)


def channel(server):
    return grpc.insecure_channel(address(server, 1))


def asked(array, name="image", model="small", **changed):
    given = {"name": name, "datatype": "UINT8", "shape": array.shape}
    raw = [array.tobytes()]
    return ModelInferRequest(
        **{"model_name": model, "inputs": [given], "raw_input_contents": raw, **changed}
    )


def vectors(answer):
    (output,), (raw,) = answer.outputs, answer.raw_output_contents
    assert (output.name, output.datatype) == ("embedding", "FP32")
    return np.frombuffer(raw, np.float32).reshape(output.shape)


def test_vectors_are_the_sessions_bit_for_bit(server, encoder, images, tmp_path):
    photo = np.frombuffer(files(images[:1])[0], np.uint8)
    np.savez(tmp_path / "given.npz", images=images, photo=photo)
    words = [address(server, 1), str(tmp_path / "given.npz"), str(tmp_path / "out.npz")]
    subprocess.run([sys.executable, "-c", PROGRAM, *words], check=True)
    found = np.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(found["image"], encoder.embed(images))
    np.testing.assert_array_equal(found["encoded"], encoder.embed(images[:1]))


def test_typed_contents_do_as_well_as_raw_ones(calls, encoder, images):
    one = images[:1]
    image = {"name": "image", "datatype": "UINT8", "shape": one.shape}
    image["contents"] = {"uint_contents": one.ravel().tolist()}
    file = {"name": "encoded", "datatype": "BYTES", "shape": [1]}
    file["contents"] = {"bytes_contents": list(files(one))}
    for given in (image, file):
        answer = calls.ModelInfer(asked(one, inputs=[given], raw_input_contents=[]))
        np.testing.assert_array_equal(vectors(answer), encoder.embed(one))


def test_many_numbers_one_by_one_are_refused(calls, images, monkeypatch):
    one = images[:1]
    image = {"name": "image", "datatype": "UINT8", "shape": one.shape}
    image["contents"] = {"uint_contents": one.ravel().tolist()}
    monkeypatch.setattr(rpc, "PLAIN_NUMBERS", one.size - 1)
    with pytest.raises(grpc.RpcError, match=r"(?s)RESOURCE_EXHAUSTED.*767 .* got 768;"):
        calls.ModelInfer(asked(one, inputs=[image], raw_input_contents=[]))
    file = {"name": "encoded", "datatype": "BYTES", "shape": [1]}
    file["contents"] = {"bytes_contents": list(files(one))}
    calls.ModelInfer(asked(one, inputs=[file], raw_input_contents=[]))
    calls.ModelInfer(asked(one))


def test_the_model_describes_itself(calls):
    described = calls.ModelMetadata(ModelMetadataRequest(name="small"))
    assert [each.name for each in described.inputs] == ["image", "encoded"]
    assert list(described.outputs[0].shape) == [-1, 96]


@pytest.mark.parametrize(
    ("shape", "changed", "code", "reason"),
    [
        ((1, 16, 16, 3), {"model": "other"}, "NOT_FOUND", "other does not exist"),
        ((1, 8, 8, 3), {}, "INVALID_ARGUMENT", r"\(B, 16, 16, 3\) but"),
        ((16, 16, 3), {}, "INVALID_ARGUMENT", r"\(B, H, W, C\), each"),
        ((1, 16, 16, 3), {"name": "x"}, "INVALID_ARGUMENT", r"but got \['x'\]"),
        (
            (1, 16, 16, 3),
            {"raw_input_contents": [bytes(5)]},
            "INVALID_ARGUMENT",
            "Expected 768 bytes",
        ),
        (
            (1, 16, 16, 3),
            {"raw_input_contents": [b"", b""]},
            "INVALID_ARGUMENT",
            "does not match",
        ),
        (
            (1, 16, 16, 3),
            {"raw_input_contents": []},
            "INVALID_ARGUMENT",
            "Expected 768 values",
        ),
        ((200, 16, 16, 3), {}, "RESOURCE_EXHAUSTED", "larger than max"),
    ],
)
def test_a_bad_request_is_told_why(calls, shape, changed, code, reason):
    with pytest.raises(grpc.RpcError, match=f"(?s){code}.*{reason}"):
        calls.ModelInfer(asked(np.zeros(shape, np.uint8), **changed))


def test_bytes_that_are_no_message_are_refused(server):
    with channel(server) as open_channel:
        call = open_channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for content in (b"\xff" * 9, bytes(9_999)):
            with pytest.raises(grpc.RpcError, match=r"(?s)INVALID_ARGUMENT.*a message"):
                call(content)


def test_models_cannot_be_unloaded(calls):
    with pytest.raises(grpc.RpcError, match="stay"):
        calls.RepositoryModelUnload(RepositoryModelUnloadRequest(model_name="small"))
    assert calls.ModelReady(ModelReadyRequest(name="small")).ready


def test_a_key_is_needed_but_by_probes(stub, images):
    small = images[:, :2, :2]
    with (
        serving({"small": stub}, keys=(b"secret",)) as server,
        channel(server) as open_channel,
    ):
        calls = GRPCInferenceServiceStub(open_channel)
        assert calls.ServerReady(ServerReadyRequest()).ready
        for given in ([], [("authorization", "Bearer x")]):
            with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
                calls.ModelInfer(asked(small), metadata=given)
        key = [("authorization", "Bearer secret")]
        found = vectors(calls.ModelInfer(asked(small), metadata=key))
    np.testing.assert_array_equal(found, small[:, 0, 0].astype(np.float32))


def test_a_full_queue_and_an_encoder_that_fails(stub):
    pixels = np.full((2, 2, 2, 3), 13, np.uint8)
    with (
        serving({"small": stub}, max_queue=2) as server,
        channel(server) as open_channel,
    ):
        calls = GRPCInferenceServiceStub(open_channel)
        stub.may_run.clear()
        failing = calls.ModelInfer.future(asked(pixels))
        assert stub.entered.acquire(timeout=60)
        with pytest.raises(grpc.RpcError, match=r"(?s)UNAVAILABLE.*at most 2"):
            calls.ModelInfer(asked(pixels[:1]))
        stub.may_run.set()
        with pytest.raises(grpc.RpcError, match="INTERNAL"):
            failing.result(60)
        assert vectors(calls.ModelInfer(asked(pixels + 1))).tolist() == [[14] * 3] * 2
