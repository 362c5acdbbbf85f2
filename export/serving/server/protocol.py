"""The Open Inference Protocol over HTTP: what KServe's SDK leaves open.

KServe turns each binary tensor into a list of Python numbers, and its BYTES into text,
which image files are not. Here tensors stay as they came.
"""

import re
from importlib import metadata
from typing import Any, NoReturn

import orjson
from kserve import InferInput, InferRequest, InferResponse
from kserve.constants.constants import INFERENCE_CONTENT_LENGTH_HEADER
from kserve.errors import InvalidInput
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.infer_type import RequestedOutput
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.v2_datamodels import InferenceRequest, RequestInput

from rkdo_plugin.export.serving.server.errors import NotBinaryError

SIZE = "binary_data_size"
# Reading numbers one by one stops the whole process, threads too: 0.15 s for so many.
PLAIN_NUMBERS = 2**20
PLAIN_BYTES = 4 * PLAIN_NUMBERS  # of JSON


class Input(RequestInput):  # type: ignore[misc]
    """An input tensor, whose data may follow the JSON."""

    data: list[Any] | None = None


class Request(InferenceRequest):  # type: ignore[misc]
    """The JSON of a request."""

    inputs: list[Input]


class Plane(DataPlane):  # type: ignore[misc]
    """KServe's road from a request to its model. Binary tensors stay as they are."""

    def metadata(self) -> dict[str, Any]:
        """The server's name, version and extensions of the protocol."""
        version = metadata.version("rkdo-plugin")
        extensions = ["binary_tensor_data"]
        return {"name": "rkdo", "version": version, "extensions": extensions}

    def decode_inference_request(
        self, body: bytes, headers: dict[str, str], model_name: str
    ) -> InferRequest:
        """Read a request: JSON, and binary tensors behind it.

        Raises:
            InvalidInput: The body is malformed.
            NotBinaryError: There is too much JSON.
        """
        stated = headers.get(INFERENCE_CONTENT_LENGTH_HEADER, str(len(body)))
        if not re.fullmatch("[0-9]{1,15}", stated) or int(stated) > len(body):
            raise InvalidInput(
                f"Expected {INFERENCE_CONTENT_LENGTH_HEADER} to be from 0 to "
                f"{len(body)}, the length of the body, but got {stated[:30]}"
            )
        length = int(stated)
        if length > PLAIN_BYTES:
            raise NotBinaryError(
                f"Expected at most {PLAIN_BYTES} bytes of JSON but got {length}; send "
                "tensors in the binary form"
            )
        try:
            request = Request.model_validate_json(body[:length])
        except ValueError as error:
            raise InvalidInput(f"Expected a v2 request but {_reason(error)}") from None
        behind = memoryview(body)[length:]
        inputs, raw = [], []
        for tensor in request.inputs:
            size = (tensor.parameters or {}).get(SIZE)
            given = "neither" if size is None else "both"
            if (size is None) == (tensor.data is None):
                raise InvalidInput(
                    f"Expected either `data` or the parameter `{SIZE}` of input "
                    f"{tensor.name[:50]!r} but got {given}"
                )
            if size is not None and not (
                type(size) is int and 0 <= size <= len(behind)
            ):
                raise InvalidInput(
                    f"Expected `{SIZE}` of input {tensor.name[:50]!r} to be from 0 to "
                    f"{len(behind)}, the bytes that are left, but got {str(size)[:30]}"
                )
            raw.append(None if size is None else behind[:size])
            behind = behind[size or 0 :]
            inputs.append(
                InferInput(tensor.name, tensor.shape, tensor.datatype, tensor.data)
            )
        if behind:
            raise InvalidInput(
                f"Expected no bytes behind the tensors but got {len(behind)}"
            )
        return InferRequest(
            model_name,
            inputs,
            request_id=request.id,
            raw_inputs=raw,
            parameters=request.parameters,
            request_outputs=[
                RequestedOutput(output.name, output.parameters)
                for output in request.outputs or []
            ],
        )

    def encode(
        self,
        model_name: str,
        response: InferResponse,
        headers: dict[str, str],
        req_attributes: dict[str, Any],
    ) -> tuple[bytes, dict[str, str]]:
        """Write a response, whatever headers of CloudEvents the request had."""
        body, length = response.to_rest()
        if length is None:  # FastAPI takes milliseconds to write a vector as JSON
            return orjson.dumps(body), {}
        return body, {INFERENCE_CONTENT_LENGTH_HEADER: str(length)}


class FixedModels(ModelRepositoryExtension):  # type: ignore[misc]
    """Models that no client may load or unload."""

    async def load(self, model_name: str) -> NoReturn:
        """Refuse.

        Raises:
            InvalidInput: Always.
        """
        raise InvalidInput("Models are loaded when the server starts, and stay")

    unload = load


def _reason(error: ValueError) -> str:
    """What pydantic found, without the values, which are the user's images."""
    found: Any = error
    first, *others = found.errors(include_url=False, include_input=False)
    place = ".".join(map(str, first["loc"]))[:100]
    more = f" ({len(others)} more)" if others else ""
    return f"got {place or 'JSON'}: {first['msg'][:200]}{more}"
