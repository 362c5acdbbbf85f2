"""How errors are told to clients, over HTTP and over gRPC."""

from grpc import StatusCode
from kserve.errors import InvalidInput, ModelNotFound

from rkdo_plugin.export.serving.server.batching import QueueFullError


class NotBinaryError(ValueError):
    """A large tensor is not in the binary form."""


ERRORS: dict[type[Exception], tuple[int, StatusCode]] = {
    InvalidInput: (400, StatusCode.INVALID_ARGUMENT),
    ModelNotFound: (404, StatusCode.NOT_FOUND),
    NotImplementedError: (501, StatusCode.UNIMPLEMENTED),
    NotBinaryError: (413, StatusCode.RESOURCE_EXHAUSTED),
    QueueFullError: (503, StatusCode.UNAVAILABLE),
}
