"""The HTTP side: KServe's endpoints behind keys and limits."""

import asyncio
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from kserve.constants.constants import INFERENCE_CONTENT_LENGTH_HEADER
from kserve.protocol.rest.server import metrics_handler
from kserve.protocol.rest.v2_endpoints import register_v2_endpoints
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rkdo_plugin.export.serving.server.batching import QueueFullError
from rkdo_plugin.export.serving.server.errors import ERRORS
from rkdo_plugin.export.serving.server.gate import Gate, noted
from rkdo_plugin.export.serving.server.logs import log
from rkdo_plugin.export.serving.server.protocol import FixedModels, Plane

OPEN = {"/v2/health/live", "/v2/health/ready"}  # probes have no key
BODY_SECONDS = 30  # in which a request's body has to come
RETRY_SECONDS = b"1"


class RefusedError(Exception):
    """A request that no model sees."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def application(plane: Plane, gate: Gate) -> ASGIApp:
    """KServe's endpoints of the Open Inference Protocol, and /metrics."""
    app = FastAPI(openapi_url=None)
    register_v2_endpoints(app, plane, FixedModels(plane.model_registry))
    app.add_api_route("/metrics", metrics_handler)
    for kind, (status, _) in ERRORS.items():
        app.add_exception_handler(kind, _answer(status))
    app.add_exception_handler(RequestValidationError, _answer(400, "Expected a body"))
    app.add_exception_handler(Exception, _answer(500, "Internal server error"))
    return Guarded(app, gate)


class Guarded:
    """An ASGI application that sees whole requests alone, which have a key."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, read it and pass it on."""
        if scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        with noted("http", scope["path"]) as fields, self._gate.holding() as hold:

            async def noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    fields["outcome"] = HTTPStatus(message["status"]).name
                    _complete(message)
                await send(message)

            try:
                body = await self._body(dict(scope["headers"]), receive, hold)
            except RefusedError as refused:
                answer = JSONResponse({"error": str(refused)}, refused.status)
                await answer(scope, receive, noting)
                return
            except ConnectionResetError:
                return
            fields["bytes"] = len(body)
            try:
                await self._app(_as_bytes(scope), _replay(body, receive), noting)
            except Exception as error:  # answered; the connection may go on
                log.error("failed", exc_info=error)

    async def _body(
        self, headers: dict[bytes, bytes], receive: Receive, hold: Any
    ) -> bytes:
        if not self._gate.knows(headers.get(b"authorization", b"")):
            raise RefusedError(401, "Expected the header Authorization: Bearer KEY")
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise RefusedError(415, "Expected a body that is not compressed")
        most = self._gate.max_bytes
        too_large = RefusedError(413, f"Expected at most {most} bytes in a request")
        if int(headers.get(b"content-length", b"0")) > most:
            raise too_large
        parts: list[bytes] = []

        async def read() -> None:
            size, more = 0, True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError
                part = message.get("body", b"")
                size += len(part)
                if size > most:
                    raise too_large
                hold(len(part))
                parts.append(part)
                more = message.get("more_body", False)

        try:
            await asyncio.wait_for(read(), BODY_SECONDS)
        except asyncio.TimeoutError:
            raise RefusedError(408, f"Expected the body in {BODY_SECONDS} s") from None
        except QueueFullError as error:
            raise RefusedError(503, str(error)) from error
        return b"".join(parts)


def _as_bytes(scope: Scope) -> Scope:
    """Let KServe take the body as bytes, whatever type the client calls it."""
    headers = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
    return {
        **scope,
        "headers": [*headers, (b"content-type", b"application/octet-stream")],
    }


def _complete(message: Message) -> None:
    """Add the headers that KServe leaves out of the start of an answer."""
    headers = message["headers"]
    names = {name for name, _ in headers}
    if message["status"] == 503:
        headers.append((b"retry-after", RETRY_SECONDS))
    if b"content-type" not in names:
        binary = INFERENCE_CONTENT_LENGTH_HEADER.encode() in names
        kind = b"application/octet-stream" if binary else b"application/json"
        headers.append((b"content-type", kind))


def _replay(body: bytes, receive: Receive) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _answer(status: int, reason: str | None = None) -> Any:
    async def answer(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": reason or str(error)}, status)

    return answer
