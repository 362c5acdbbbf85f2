"""A server of the small encoder, and a client of it."""

import pytest
import tritonclient.http
from servers import Stub, address, serving

from rkdo_plugin.export import EmbeddingSession


@pytest.fixture
def stub():
    return Stub()


@pytest.fixture(scope="module")
def encoder(small_file):
    return EmbeddingSession(small_file, provider="cpu")


@pytest.fixture(scope="module")
def server(encoder):
    """A server of the small encoder, for images of 16 pixels, with small limits."""
    limits = {"max_bytes": 100_000, "max_pixels": 10_000}
    with serving({"small": encoder}, **limits) as server:
        yield server


@pytest.fixture
def client(server):
    with tritonclient.http.InferenceServerClient(address(server)) as client:
        yield client
