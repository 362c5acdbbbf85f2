"""The gRPC side: KServe's servicer behind keys and limits."""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from kserve.errors import InvalidInput
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    add_GRPCInferenceServiceServicer_to_server,
)
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer

from rkdo_plugin.export.serving.server.errors import ERRORS, NotBinaryError
from rkdo_plugin.export.serving.server.gate import Gate, noted
from rkdo_plugin.export.serving.server.logs import log
from rkdo_plugin.export.serving.server.protocol import (
    PLAIN_NUMBERS,
    FixedModels,
    Plane,
)

OPEN = ("/ServerLive", "/ServerReady")


class Guarding(ExceptionToStatusInterceptor):  # type: ignore[misc]
    """Refuses calls without a key, and tells errors by their status."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    async def intercept_service(
        self, continuation: Any, handler_call_details: Any
    ) -> Any:
        """Let `intercept` see bytes that are no message, too."""
        handler = await super().intercept_service(continuation, handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            handler.unary_unary,
            request_deserializer=_or_error(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    async def intercept(
        self, method: Any, request_or_iterator: Any, context: Any, method_name: str
    ) -> Any:
        """Check one call, pass it on and note its outcome."""
        if method_name.endswith(OPEN):
            return await method(request_or_iterator, context)
        model = getattr(request_or_iterator, "model_name", "")
        with noted("grpc", f"{method_name}/{model}") as fields:
            given = dict(context.invocation_metadata() or ())
            if not self._gate.knows(given.get("authorization", "")):
                fields["outcome"] = "UNAUTHENTICATED"
                await context.abort(
                    grpc.StatusCode.UNAUTHENTICATED,
                    "Expected the metadata authorization: Bearer KEY",
                )
            try:
                if isinstance(request_or_iterator, DecodeError):
                    raise InvalidInput("Expected a message of the protocol")
                fields["bytes"] = request_or_iterator.ByteSize()
                with self._gate.holding() as hold:
                    hold(fields["bytes"])
                    _require_few_numbers(request_or_iterator)
                    answer = await method(request_or_iterator, context)
            except Exception as error:
                code, reason = _told(error)
                fields["outcome"] = code.name
                await context.abort(code, reason)
            fields["outcome"] = "OK"
            return answer


def rpc_server(plane: Plane, gate: Gate, max_calls: int) -> Any:
    """A gRPC server of the Open Inference Protocol, which listens nowhere yet."""
    server = grpc.aio.server(
        interceptors=(Guarding(gate),),
        maximum_concurrent_rpcs=max_calls,
        options=[
            ("grpc.max_receive_message_length", gate.max_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # a port in use is an error
        ],
    )
    servicer = InferenceServicer(plane, FixedModels(plane.model_registry))
    add_GRPCInferenceServiceServicer_to_server(servicer, server)
    return server


def _or_error(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return the error of bytes that are no message, rather than raise it."""

    def deserialized(content: bytes) -> Any:
        try:
            return deserialize(content)
        except DecodeError as error:
            return error

    return deserialized


def _require_few_numbers(request: Any) -> None:
    numbers = sum(
        len(values)
        for tensor in getattr(request, "inputs", ())
        for field, values in tensor.contents.ListFields()
        if field.name != "bytes_contents"
    )
    if numbers > PLAIN_NUMBERS:
        raise NotBinaryError(
            f"Expected at most {PLAIN_NUMBERS} numbers in `contents` but got {numbers};"
            " send tensors as `raw_input_contents`"
        )


def _told(error: Exception) -> tuple[grpc.StatusCode, str]:
    for kind, (_, code) in ERRORS.items():
        if isinstance(error, kind):
            return code, str(error)
    log.error("failed", exc_info=error)
    return grpc.StatusCode.INTERNAL, "Internal server error"
