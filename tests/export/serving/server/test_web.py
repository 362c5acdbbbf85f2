"""Requests over HTTP: good ones by NVIDIA's client, bad ones by hand."""

import contextlib
import http.client
import json
import socket
import threading

import numpy as np
import pytest
import tritonclient.http
from checkout import blocks
from prometheus_client import REGISTRY
from servers import address, asked, files, serving, tensor
from tritonclient.utils import InferenceServerException

from rkdo_plugin.export.serving.server import protocol, web

INFER = "/v2/models/small/infer"


def post(server, body, path=INFER, **headers):
    connection = http.client.HTTPConnection(address(server), timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(connection):
        connection.request("POST", path, body, named)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers


def raw(server, words):
    """The first line that the server answers to these bytes."""
    host, port = address(server).split(":")
    with socket.create_connection((host, int(port)), timeout=60) as at:
        at.sendall(words)
        return at.makefile("rb").readline().decode()


def request(**changed):
    """A good request of one image in JSON, with a changed input or request."""
    image = {"name": "image", "datatype": "UINT8", "shape": [1, 16, 16, 3]}
    image["data"] = [0] * 768
    whole = {"inputs": [image]}
    for key, value in changed.items():
        (whole if key in ("inputs", "outputs", "id") else image)[key] = value
    missing = [key for key, value in image.items() if value is None]
    for key in missing:
        del image[key]
    return whole


def embed(client, *inputs, **options):
    return client.infer("small", [*inputs], **options).as_numpy("embedding")


@pytest.mark.parametrize("binary", [True, False])
def test_vectors_are_those_of_the_session_bit_for_bit(client, encoder, images, binary):
    output = tritonclient.http.InferRequestedOutput("embedding", binary_data=binary)
    found = embed(client, tensor(images, binary_data=binary), outputs=[output])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, encoder.embed(images))
    np.testing.assert_array_equal(embed(client, tensor(images)), found)


def test_files_are_decoded_as_embed_does(client, encoder, images, tmp_path):
    pictures = [np.tile(image, (3, 2, 1)) for image in images]
    encoded = [*files(pictures[:4], "JPEG"), *files(pictures[4:])]
    paths = [tmp_path / f"{number}" for number in range(len(encoded))]
    for path, content in zip(paths, encoded, strict=True):
        path.write_bytes(content)
    expected = [vector for _, vector in encoder.embed_files(paths, batch_size=9)]
    found = embed(client, tensor(np.array(encoded, dtype=object), "encoded"))
    np.testing.assert_array_equal(found, np.stack(expected))


def test_requests_at_once_each_get_their_own_vectors(server, encoder, images):
    expected = encoder.embed(images)
    with tritonclient.http.InferenceServerClient(
        address(server), concurrency=len(images)
    ) as client:
        asked = [client.async_infer("small", [tensor(each[None])]) for each in images]
        found = [each.get_result().as_numpy("embedding")[0] for each in asked]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_server_and_the_model_describe_themselves(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("small")
    assert client.get_server_metadata()["name"] == "rkdo"
    described = client.get_model_metadata("small")
    assert described["inputs"] == [
        {"name": "image", "datatype": "UINT8", "shape": [-1, 16, 16, 3]},
        {"name": "encoded", "datatype": "BYTES", "shape": [-1]},
    ]
    assert described["outputs"] == [
        {"name": "embedding", "datatype": "FP32", "shape": [-1, 96]}
    ]


def test_the_identity_of_a_request_comes_back(client, server, images):
    answer = client.infer("small", [tensor(images)], request_id="mine")
    assert answer.get_response()["id"] == "mine"
    status, answer, _ = post(server, json.dumps(request()))
    assert status == 200 and answer["id"] and answer["model_name"] == "small"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"name": "pixels"}, "one input, `image` or `encoded`, but got ['pixels']"),
        ({"name": None}, "got inputs.0.name: Field required"),
        ({"shape": None}, "got inputs.0.shape: Field required"),
        ({"datatype": None}, "got inputs.0.datatype: Field required"),
        ({"data": None}, "either `data` or the parameter `binary_data_size`"),
        ({"datatype": "FP32"}, "`image` to be UINT8 but got FP32"),
        ({"shape": [1, 8, 8, 12]}, "(B, 16, 16, 3) but got (1, 8, 8, 12)"),
        ({"shape": [1, 16, 16]}, "to be (B, H, W, C), each at least 1, but got"),
        ({"shape": [-1, 16, 16, 3]}, "each at least 1, but got [-1, 16, 16, 3]"),
        ({"shape": [0, 16, 16, 3], "data": []}, "each at least 1, but got [0, 16"),
        ({"shape": [10**40, 1, 1, 1]}, "each at least 1, but got [1000"),
        ({"shape": [2, 16, 16, 3]}, "Expected 1536 values"),
        ({"shape": "wide"}, "got inputs.0.shape"),
        ({"data": [0] * 767}, "Expected 768 values"),
        ({"data": [256] * 768}, "integers from 0 to 255"),
        ({"data": [-1] * 768}, "integers from 0 to 255"),
        ({"data": [0.5] * 768}, "integers from 0 to 255"),
        ({"data": [10**400] + [0] * 767}, "hold integers alone"),
        ({"data": ["a"] * 768}, "hold integers alone"),
        ({"data": [[1], [1, 2]]}, "hold integers alone"),
        ({"data": [None] * 768}, "integers from 0 to 255"),
        ({"data": {"0": 1}}, "got inputs.0.data"),
        ({"inputs": []}, "one input, `image` or `encoded`, but got []"),
        ({"inputs": None}, "got inputs"),
        ({"inputs": request()["inputs"] * 2}, "but got ['image', 'image']"),
        ({"outputs": [{"name": "scores"}]}, "output `embedding` but got ['scores']"),
        ({"outputs": [{"name": "embedding"}] * 9}, "'embedding'] and more"),
        ({"id": 7}, "got id"),
        ({"parameters": {"binary_data_size": 3}}, "but got both"),
        ({"name": "encoded", "datatype": "BYTES", "shape": [768]}, "binary data"),
    ],
)
def test_a_malformed_request_is_told_why(server, changed, reason):
    status, answer, _ = post(server, json.dumps(request(**changed)))
    assert status == 400 and reason in answer["error"], answer


def binary(size, shape, name="image", kind="UINT8"):
    parameters = {"binary_data_size": size}
    whole = {"name": name, "datatype": kind, "shape": shape, "parameters": parameters}
    return json.dumps({"inputs": [whole]}).encode()


@pytest.mark.parametrize(
    ("header", "behind", "reason"),
    [
        (binary(768, [1, 16, 16, 3]), 767, "from 0 to 767, the bytes that are left"),
        (binary(768, [1, 16, 16, 3]), 769, "no bytes behind the tensors but got 1"),
        (binary(-1, [1, 16, 16, 3]), 768, "but got -1"),
        (binary(True, [1, 16, 16, 3]), 768, "but got True"),
        (binary("768", [1, 16, 16, 3]), 768, "but got 768"),
        (binary(10**30, [1, 16, 16, 3]), 768, "but got 1000"),
        (binary(768, [2, 16, 16, 3]), 768, "Expected 1536 bytes"),
        (binary(7, [1], "encoded", "BYTES"), 7, "1 elements, each behind its length"),
        (binary(8, [1], "encoded", "BYTES"), 8, "1 elements, each behind its length"),
        (binary(8, [3], "encoded", "BYTES"), 8, "Expected 3 elements but got 2"),
        (binary(4, [1], "encoded", "BYTES"), 4, "image 0 of `encoded`: not a picture"),
    ],
)
def test_malformed_binary_tensors(server, header, behind, reason):
    body = header + bytes(behind)
    length = str(len(header))
    status, answer, _ = post(server, body, inference_header_content_length=length)
    assert status == 400 and reason in answer["error"], answer


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 30, "", " ", "5"])
def test_an_absurd_length_of_the_json(server, length):
    body = json.dumps(request())
    status, answer, _ = post(server, body, inference_header_content_length=length)
    assert status == 400 and "Expected" in answer["error"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b"\xff\xfe", b"[" * 50_000, bytes(1000)]
)
def test_a_body_that_is_no_request(server, body):
    status, answer, _ = post(server, body)
    assert status == 400 and "Expected" in answer["error"]


@pytest.mark.parametrize("length", ["-5", "1e9", "9" * 40, "0x10"])
def test_a_content_length_that_is_no_number_of_bytes(server, length):
    words = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    assert raw(server, words.encode()).split()[1] in ("400", "413")


def test_too_many_bytes_are_refused_before_they_are_sent(server):
    words = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n"
    assert raw(server, words.encode()).split()[1] == "413"
    chunks = "Transfer-Encoding: chunked\r\n\r\n" + f"{200_000:x}\r\n" + "0" * 150_000
    words = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n{chunks}"
    assert raw(server, words.encode()).split()[1] == "413"


def test_more_json_than_other_clients_would_wait_for_is_not_read(server, monkeypatch):
    body = json.dumps(request())
    monkeypatch.setattr(protocol, "PLAIN_BYTES", len(body))
    assert post(server, body)[0] == 200
    monkeypatch.setattr(protocol.Request, "model_validate_json", None)
    status, answer, _ = post(server, body + " ")
    assert status == 413
    assert answer["error"].endswith(
        f"{len(body)} bytes of JSON but got {len(body) + 1}; send tensors in the "
        "binary form"
    )
    # What follows the JSON is not counted.
    header = binary(768, [1, 16, 16, 3])
    monkeypatch.undo()
    monkeypatch.setattr(protocol, "PLAIN_BYTES", len(header))
    length = str(len(header))
    status, *_ = post(
        server, header + bytes(768), inference_header_content_length=length
    )
    assert status == 200


def test_a_compressed_body_is_refused(server):
    status, answer, _ = post(server, b"\x1f\x8b", content_encoding="gzip")
    assert status == 415 and "not compressed" in answer["error"]


def test_an_image_of_too_many_pixels(client):
    large = files([np.zeros((101, 100, 3), np.uint8)])
    with pytest.raises(InferenceServerException, match=r"at most 10000 .* 101 x 100"):
        embed(client, tensor(large, "encoded"))


def test_a_bad_image_is_named_and_fails_its_own_request_alone(
    server, client, encoder, images
):
    damaged = files(images)
    damaged[3] = damaged[3][:50]
    with tritonclient.http.InferenceServerClient(address(server), concurrency=2) as two:
        bad = two.async_infer("small", [tensor(damaged, "encoded")])
        good = two.async_infer("small", [tensor(images)])
        with pytest.raises(InferenceServerException, match="image 3 of `encoded`"):
            bad.get_result()
        found = good.get_result().as_numpy("embedding")
    np.testing.assert_array_equal(found, encoder.embed(images))


def test_the_program_of_the_guide(stub, tmp_path, monkeypatch):
    (block,) = blocks("docs/serving.md", "python")
    (tmp_path / "photo.jpg").write_bytes(files(np.zeros((1, 9, 9, 3), np.uint8))[0])
    monkeypatch.chdir(tmp_path)
    stub.image_size = stub.fixed_size = 224
    with serving({"encoder": stub}) as server:
        found = {}
        exec(block.replace("127.0.0.1:8080", address(server)), found)
    assert found["vectors"].tolist() == [[0, 0, 0]] * 2
    assert stub.batches == [1, 2]


def test_an_unknown_model(client, images):
    with pytest.raises(InferenceServerException, match=r"404.*other does not exist"):
        client.infer("other", [tensor(images)])


def test_models_cannot_be_unloaded(client, server):
    status, answer, _ = post(server, b"", "/v2/repository/models/small/unload")
    assert status == 400 and "stay" in answer["error"]
    assert client.is_model_ready("small")


def test_headers_of_cloudevents_change_nothing(server):
    headers = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "x", "ce_type": "x"}
    status, answer, _ = post(server, json.dumps(request()), **headers)
    assert status == 200 and answer["outputs"][0]["shape"] == [1, 96]


def test_a_key_is_needed_but_by_probes(stub, images):
    with serving({"small": stub}, keys=(b"secret", b"other")) as server:
        for given in ({}, {"authorization": "Bearer x"}, {"authorization": "secret"}):
            status, answer, _ = post(server, b"", **given)
            assert status == 401 and "Bearer KEY" in answer["error"]
        with tritonclient.http.InferenceServerClient(address(server)) as client:
            assert client.is_server_ready() and client.is_server_live()
            key = {"Authorization": "Bearer other"}
            answer = client.infer("small", [tensor(images[:, :2, :2])], headers=key)
    expected = images[:, 0, 0].astype(np.float32)
    np.testing.assert_array_equal(answer.as_numpy("embedding"), expected)


def test_a_full_queue_says_when_to_come_back(stub, images):
    small = images[:4, :2, :2]
    with serving({"small": stub}, max_queue=4) as server:
        stub.may_run.clear()
        waiting = asked(server, small)
        assert stub.entered.acquire(timeout=60)
        one = binary(12, [1, 2, 2, 3])
        length = str(len(one))
        status, answer, headers = post(
            server, one + bytes(12), inference_header_content_length=length
        )
        assert status == 503 and headers["Retry-After"] == "1"
        assert "at most 4 images to wait but 4 do" in answer["error"]
        stub.may_run.set()
        assert len(waiting.result(60)) == 4
        with pytest.raises(InferenceServerException, match="at most 4 images"):
            asked(server, images[:5, :2, :2]).result(60)


def test_an_encoder_that_fails_is_an_error_of_the_server(stub):
    with (
        serving({"small": stub}) as server,
        tritonclient.http.InferenceServerClient(address(server)) as client,
    ):
        unlucky = tensor(np.full((1, 2, 2, 3), 13, np.uint8))
        with pytest.raises(InferenceServerException, match="500"):
            client.infer("small", [unlucky])
        lucky = tensor(np.full((1, 2, 2, 3), 14, np.uint8))
        assert embed(client, lucky).tolist() == [[14, 14, 14]]


def test_a_body_that_does_not_come(stub, monkeypatch):
    monkeypatch.setattr(web, "BODY_SECONDS", 0.01)
    with serving({"small": stub}) as server:
        words = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        assert raw(server, words.encode()).split()[1] == "408"


def test_a_client_that_goes_away_is_counted_and_nothing_else(server, client, images):
    def gone():
        labels = {"protocol": "http", "outcome": "DISCONNECTED"}
        return REGISTRY.get_sample_value("rkdo_requests_total", labels) or 0

    before = gone()
    host, port = address(server).split(":")
    with socket.create_connection((host, int(port))) as at:
        head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1"
        at.sendall(head.encode())
    ended = threading.Event()
    while gone() == before:  # the server is in a thread of this process
        assert not ended.wait(0.01)
    assert len(embed(client, tensor(images))) == len(images)
