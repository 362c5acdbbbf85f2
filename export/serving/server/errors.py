"""How errors are told to clients, over HTTP and over gRPC."""

from grpc import StatusCode
from kserve.errors import InvalidInput, ModelNotFound

from rkdo_plugin.export.serving.server.batching import QueueFullError

ERRORS: dict[type[Exception], tuple[int, StatusCode]] = {
    InvalidInput: (400, StatusCode.INVALID_ARGUMENT),
    ModelNotFound: (404, StatusCode.NOT_FOUND),
    NotImplementedError: (501, StatusCode.UNIMPLEMENTED),
    QueueFullError: (503, StatusCode.UNAVAILABLE),
}
