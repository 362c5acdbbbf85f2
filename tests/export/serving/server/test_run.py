"""How a server starts, and how it ends."""

import datetime
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.http
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ServerLiveRequest
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from servers import Stub, address, asked, serving, tensor

from rkdo_plugin.cli.main import main
from rkdo_plugin.export import export_onnx, write_triton_repository
from rkdo_plugin.export.serving.server import run
from rkdo_plugin.export.serving.server.run import named
from rkdo_plugin.export.serving.server_settings import ServerSettings, read_tls
from rkdo_plugin.export.serving.triton.contract import contract

HEAVY = "{'torch', 'torchvision', 'lightly', 'sklearn', 'ray'}"
PROGRAM = f"""
import sys
from rkdo_plugin.cli.main import main
status = main(sys.argv[1:])
heavy = {HEAVY} & set(sys.modules)
sys.exit(f"loaded {{heavy}}" if heavy else status)
"""


def lines(process):
    """The lines of a server's log, each as an object."""
    for line in process.stderr:
        yield json.loads(line)


def test_a_process_serves_two_models_and_ends_at_a_signal(
    small_file, make_small, images, encoder, tmp_path
):
    shutil.copy(small_file, tmp_path / "first.onnx")
    export_onnx(make_small(seed=1), tmp_path / "second.onnx")
    (tmp_path / "keys").write_text("secret\n")
    words = "serve first.onnx second.onnx --port 0 --grpc-port 0 --api-key-file keys"
    command = [sys.executable, "-c", PROGRAM, *words.split(), "--provider", "cpu"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        *loaded, first = [next(lines(process)) for _ in range(3)]
        assert [line["model"] for line in loaded] == ["first", "second"]
        assert {line["provider"] for line in loaded} == {"cpu"}
        assert first["event"] == "serving" and first["models"] == ["first", "second"]
        at = f"{first['host']}:{first['port']}"
        assert first["host"] == "127.0.0.1"
        key = {"Authorization": "Bearer secret"}
        with tritonclient.http.InferenceServerClient(at) as client:
            # A file that is replaced changes nothing for who has loaded it.
            shutil.copy(tmp_path / "second.onnx", tmp_path / "first.onnx")
            answers = [
                client.infer(name, [tensor(images)], headers=key).as_numpy("embedding")
                for name in ("first", "second")
            ]
        os.kill(process.pid, signal.SIGTERM)
        rest = list(lines(process))
        assert process.wait(60) == 0, rest
    finally:
        process.kill()
    np.testing.assert_array_equal(answers[0], encoder.embed(images))
    assert not np.allclose(*answers)
    noted = [line for line in rest if line["event"] == "request"]
    assert [line["place"] for line in noted] == [
        "/v2/models/first/infer",
        "/v2/models/second/infer",
    ]
    assert set(noted[0]) == {
        *("time", "level", "event", "protocol", "place", "bytes", "outcome", "seconds")
    }
    assert rest[-1]["event"] == "stopped" and "secret" not in json.dumps(rest)


def self_signed(folder, password=None):
    """Files of a certificate for this machine, and of its private key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    closed = serialization.NoEncryption()
    if password is not None:
        closed = serialization.BestAvailableEncryption(password)
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, closed))
    return {
        "tls_certificate": str(folder / "certificate.pem"),
        "tls_key": str(folder / "key.pem"),
    }


def test_with_a_certificate_both_protocols_are_encrypted(tmp_path):
    files = self_signed(tmp_path)
    content = Path(files["tls_certificate"]).read_bytes()
    with serving({"small": Stub()}, **files) as server:
        http, rpc = server.ports
        trusting = ssl.create_default_context(cadata=content.decode())
        with urllib.request.urlopen(
            f"https://localhost:{http}/v2/health/live", context=trusting, timeout=60
        ) as answer:
            assert json.load(answer) == {"live": True}
        with pytest.raises(OSError):
            urllib.request.urlopen(
                f"http://localhost:{http}/v2/health/live", timeout=60
            )
        live = ServerLiveRequest()
        known = grpc.ssl_channel_credentials(content)
        with grpc.secure_channel(f"localhost:{rpc}", known) as channel:
            assert GRPCInferenceServiceStub(channel).ServerLive(live, timeout=60).live
        with (
            grpc.insecure_channel(f"localhost:{rpc}") as channel,
            pytest.raises(grpc.RpcError, match="UNAVAILABLE"),
        ):
            GRPCInferenceServiceStub(channel).ServerLive(live, timeout=60)


def test_a_key_with_a_password_is_refused(tmp_path):
    settings = ServerSettings(**self_signed(tmp_path, b"secret"))
    with pytest.raises(OSError, match=r"without a password, in .*key\.pem but got: "):
        read_tls(settings)


def test_what_is_accepted_is_answered_and_new_requests_are_refused():
    stub = Stub()
    stub.may_run.clear()
    image = np.full((1, 2, 2, 3), 7, np.uint8)
    with serving({"small": stub}) as server:
        host, port = address(server).split(":")
        waiting = asked(server, image)
        assert stub.entered.acquire(timeout=60)
        server.stop()
        refused = threading.Event()
        while not refused.wait(0.02):  # more would fill the queue of connections
            try:
                socket.create_connection((host, int(port)), timeout=60).close()
            except ConnectionError:
                refused.set()
        stub.may_run.set()
        answer = waiting.result(60)
    assert answer.tolist() == [[7, 7, 7]]


@pytest.mark.parametrize("option", ["--port", "--grpc-port"])
def test_a_port_in_use_is_an_error(small_file, option, capsys, monkeypatch):
    monkeypatch.setattr(run, "configure", lambda: None)  # other tests log, too
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = ["serve", str(small_file), "--port", "0", "--grpc-port", "0"]
        assert main([*words, option, port]) == 1
    assert f"listen on 127.0.0.1, port {port}, but" in capsys.readouterr().err


def test_models_need_different_names_that_fit_into_a_url(tmp_path):
    with pytest.raises(ValueError, match=r"but got a twice: .*x/a\.onnx and"):
        named(["x/a.onnx", "y/a.onnx"])
    with pytest.raises(ValueError, match="letters, digits"):
        named(["a b.onnx"])


def test_one_client_talks_to_this_server_and_to_triton(client, small_file, tmp_path):
    write_triton_repository(small_file, tmp_path, name="small")
    promised = contract((tmp_path / "small" / "config.pbtxt").read_text())
    described = client.get_model_metadata("small")
    for side, kind in (("input", "TYPE_"), ("output", "TYPE_")):
        (first, *_) = described[side + "s"]
        told = f"{first['name']} {kind}{first['datatype']} {first['shape'][1:]}"
        assert told == promised[side]


def test_answers_do_not_wait_for_more():
    """Connections inherit the option of the socket that listens."""
    with run.listening("127.0.0.1", 0) as at:
        assert at.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
