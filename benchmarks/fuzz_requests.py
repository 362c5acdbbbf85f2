"""What fuzz.py attacks: the server, without its ports."""

import asyncio
import json
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")  # it would ask the network

from fuzz_content import (
    GRAY,
    PIXELS,
    SIZE,
    Session,
    Target,
    as_json,
    as_picture,
    target,
)
from grpc import RpcError, StatusCode
from kserve import ModelRepository
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest
from kserve.protocol.grpc.servicer import InferenceServicer
from served import binary

from rkdo_plugin.export.serving.server.gate import Gate
from rkdo_plugin.export.serving.server.logs import log
from rkdo_plugin.export.serving.server.model import EncoderModel
from rkdo_plugin.export.serving.server.protocol import FixedModels, Plane
from rkdo_plugin.export.serving.server.rpc import Guarding, _or_error
from rkdo_plugin.export.serving.server.web import application
from rkdo_plugin.export.serving.server_settings import ServerSettings


class Failures(logging.Handler):
    """Remembers what the server could not explain."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Remember an error."""
        if record.exc_info and record.exc_info[1]:
            self.errors.append(record.exc_info[1])


def served_stub() -> tuple[Plane, Gate, Failures, Any]:
    """A server without ports, of an encoder without weights."""
    settings = ServerSettings(max_delay_ms=0, max_pixels=PIXELS, max_bytes=2**22)
    registry = ModelRepository()
    registry.update(EncoderModel("small", Session(), settings, ThreadPoolExecutor(1)))
    failures = Failures()
    log.handlers, log.propagate = [failures], False
    logging.getLogger("kserve").disabled = True
    return (
        Plane(registry),
        Gate((), settings.max_bytes),
        failures,
        asyncio.new_event_loop(),
    )


def encoded() -> tuple[bytes, dict[str, str]]:
    """A request with a picture's file."""
    file = as_picture("PNG")
    content = len(file).to_bytes(4, "little") + file
    head = as_json(
        {
            "inputs": [
                {
                    "name": "encoded",
                    "datatype": "BYTES",
                    "shape": [1],
                    "parameters": {"binary_data_size": len(content)},
                }
            ]
        }
    )
    return head + content, {"Inference-Header-Content-Length": str(len(head))}


@target
def http(folder: Path) -> Target:
    """Requests over HTTP: lines of headers, and a body."""
    plane, gate, failures, loop = served_stub()
    app = application(plane, gate)
    plain = {
        "id": "1",
        "inputs": [
            {
                "name": "image",
                "datatype": "UINT8",
                "shape": [1, SIZE, SIZE, 3],
                "data": GRAY.ravel().tolist(),
            }
        ],
        "outputs": [{"name": "embedding", "parameters": {"binary_data": True}}],
    }
    bodies = [binary(GRAY), binary(GRAY, raw=True), encoded(), (as_json(plain), {})]
    trees = []
    for body, headers in bodies:
        size = int(headers.get("Inference-Header-Content-Length", len(body)))
        trees.append(
            [
                {"authorization": "Bearer x", **headers},
                json.loads(body[:size]),
                body[size:].hex(),
            ]
        )

    def written(tree: Any) -> bytes:
        headers, request, behind = tree
        head = as_json(request)
        name = "Inference-Header-Content-Length"
        if str(headers.get(name, "")).isdigit():
            headers = headers | {name: str(len(head))}
        lines = "".join(f"{name}: {value}\n" for name, value in headers.items())
        return lines.encode("utf-8", "replace") + b"\n" + head + bytes.fromhex(behind)

    def read(content: bytes) -> None:
        lines, _, body = content.partition(b"\n\n")
        pairs = [line.partition(b": ")[::2] for line in lines.splitlines()]
        # uvicorn refuses other names.
        headers = [(n.lower(), v) for n, v in pairs if re.fullmatch(rb"[\w-]+", n)]
        headers.append((b"content-length", str(len(body)).encode()))
        scope = {
            **{
                "type": "http",
                "http_version": "1.1",
                "method": "POST",
                "scheme": "http",
            },
            **{"path": "/v2/models/small/infer", "raw_path": b"", "query_string": b""},
            **{"headers": headers, "client": ("127.0.0.1", 1), "server": ("x", 80)},
        }
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        failures.errors.clear()
        loop.run_until_complete(app(scope, receive, send))
        if failures.errors:
            raise failures.errors[0]
        assert gate._held == 0
        status = sent[0]["status"]
        assert status in (200, 400, 401, 413, 415), f"status {status}"
        if status != 200:
            raise ValueError("Expected otherwise")

    return Target(
        [written(tree) for tree in trees], read, (ValueError,), trees, written
    )


class AbortedError(RpcError):
    """What a call came to."""


class Call:
    """What a servicer sees of a call."""

    def invocation_metadata(self) -> Any:
        """No headers."""
        return ()

    def set_trailing_metadata(self, _: Any) -> None:
        """Send nothing."""

    async def abort(self, code: Any, details: str = "") -> None:
        """End the call."""
        raise AbortedError(code, details)


@target
def grpc(folder: Path) -> Target:
    """Messages over gRPC."""
    plane, gate, failures, loop = served_stub()
    servicer = InferenceServicer(plane, FixedModels(plane.model_registry))
    guard, message = Guarding(gate), _or_error(ModelInferRequest.FromString)
    file = as_picture("PNG")
    inputs = [
        {"name": "image", "datatype": "UINT8", "shape": GRAY.shape},
        {"name": "encoded", "datatype": "BYTES", "shape": [1]},
    ]
    behind = [GRAY.tobytes(), len(file).to_bytes(4, "little") + file]
    made = [
        ModelInferRequest(model_name="small", inputs=[tensor], raw_input_contents=[raw])
        for tensor, raw in zip(inputs, behind, strict=True)
    ]
    contents = [{"uint_contents": GRAY.ravel().tolist()}, {"bytes_contents": [file]}]
    made += [
        ModelInferRequest(
            model_name="small", id="1", inputs=[{**tensor, "contents": of}]
        )
        for tensor, of in zip(inputs, contents, strict=True)
    ]

    def read(content: bytes) -> None:
        failures.errors.clear()
        call = guard.intercept(
            servicer.ModelInfer, message(content), Call(), "/ModelInfer"
        )
        try:
            answer = loop.run_until_complete(call)
            answer.SerializeToString()
        except AbortedError as error:
            if failures.errors:
                raise failures.errors[0] from None
            allowed = (
                StatusCode.INVALID_ARGUMENT,
                StatusCode.NOT_FOUND,
                StatusCode.RESOURCE_EXHAUSTED,
            )
            assert error.args[0] in allowed, str(error)
            raise ValueError("Expected otherwise") from None

    return Target([each.SerializeToString() for each in made], read)
