"""Serve encoders until a signal comes; what was accepted until then is answered."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import uvicorn
from kserve import ModelRepository

from rkdo_plugin.export.encoder.images import sample_images
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.runtime.settings import Provider
from rkdo_plugin.export.serving.server.gate import Gate
from rkdo_plugin.export.serving.server.logs import configure, log
from rkdo_plugin.export.serving.server.model import EncoderModel
from rkdo_plugin.export.serving.server.protocol import Plane
from rkdo_plugin.export.serving.server.rpc import rpc_server
from rkdo_plugin.export.serving.server.web import application
from rkdo_plugin.export.serving.server_settings import (
    ServerSettings,
    read_keys,
    read_tls,
)
from rkdo_plugin.export.serving.triton.config import require_name

GRACE_SECONDS = 25  # Kubernetes kills after 30
IDLE_SECONDS = 65  # before a connection is closed; proxies close theirs after 60


def serve(models: Sequence[str | Path], settings: ServerSettings) -> None:
    """Serve encoders over HTTP and gRPC until SIGTERM or SIGINT.

    Args:
        models: Files that `export_onnx` wrote. A file's stem is its name in requests.
        settings: Where the server listens, and its limits.

    Raises:
        OSError: A model, a key or a certificate is missing, or the server cannot
            listen.
        ProviderError: The provider does not load.
        ValueError: A model is damaged, or two have one name.
    """
    paths = named(models)
    keys, tls = read_keys(settings.api_key_file), read_tls(settings)
    configure()
    with listening(settings.host, settings.port) as at:
        sessions = {
            name: _loaded(name, path, settings.provider) for name, path in paths.items()
        }
        server = Server(sessions, settings, keys, tls)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        asyncio.run(server.run(at))


def _loaded(name: str, path: Path, provider: Provider) -> EmbeddingSession:
    """An encoder that has run once: on a GPU the first run takes seconds."""
    session = EmbeddingSession(path, provider)
    session.embed(sample_images(1, session.image_size, session.channels))
    fields = {"model": name, "provider": session.provider}
    log.info("loaded", extra={"fields": fields})
    return session


def named(models: Sequence[str | Path]) -> dict[str, Path]:
    """Models by the names that requests have for them.

    Raises:
        ValueError: Two have one name, or a name does not fit into a URL.
    """
    paths: dict[str, Path] = {}
    for path in map(Path, models):
        require_name(path.stem)
        if path.stem in paths:
            raise ValueError(
                f"Expected models of different names but got {path.stem} twice: "
                f"{paths[path.stem]} and {path}"
            )
        paths[path.stem] = path
    return paths


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket that listens.

    Raises:
        OSError: The port is in use, or the host is not this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        at = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise OSError(
            f"Expected to listen on {host}, port {port}, but got: {error.strerror}"
        ) from error
    with at:
        # Connections inherit it. asyncio sets it on sockets of its own making alone.
        # Without it answers wait 40 ms for the client's acknowledgement.
        at.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield at


class Server:
    """Encoders behind HTTP and gRPC.

    Args:
        sessions: The encoders by their names in requests.
        settings: Where the server listens, and its limits.
        keys: A request needs one of them; with none it needs none.
        tls: What `read_tls` read from the settings' files.

    Attributes:
        ports: Of HTTP and gRPC, once `run` has begun.
    """

    def __init__(
        self,
        sessions: Mapping[str, EmbeddingSession],
        settings: ServerSettings,
        keys: tuple[bytes, ...] = (),
        tls: tuple[bytes, bytes] | None = None,
    ) -> None:
        self._settings, self._tls = settings, tls
        self._decoders = ThreadPoolExecutor(os.cpu_count(), "decoder")
        registry = ModelRepository()
        self._models = [
            EncoderModel(name, session, settings, self._decoders)
            for name, session in sessions.items()
        ]
        for model in self._models:
            registry.update(model)
        self._plane = Plane(registry)
        self._gate = Gate(keys, settings.max_bytes)
        self._http = _HTTP(
            uvicorn.Config(
                application(self._plane, self._gate),
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
                timeout_keep_alive=IDLE_SECONDS,
                ssl_certfile=settings.tls_certificate,
                ssl_keyfile=settings.tls_key,
            )
        )
        self.ports = (0, 0)

    async def run(
        self, at: socket.socket, started: Callable[[], object] = lambda: None
    ) -> None:
        """Answer requests until `stop` is called.

        Args:
            at: The socket that HTTP comes to.
            started: Is called once requests are answered.

        Raises:
            OSError: The port of gRPC is in use.
        """
        rpc = rpc_server(self._plane, self._gate, self._settings.max_queue)
        host, port = self._settings.host, self._settings.grpc_port
        try:
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            if self._tls is None:
                bound = rpc.add_insecure_port(address)
            else:
                credentials = grpc.ssl_server_credentials([self._tls])
                bound = rpc.add_secure_port(address, credentials)
            self.ports = at.getsockname()[1], bound
        except RuntimeError:
            raise OSError(
                f"Expected to listen on {host}, port {port}, but it is in use"
            ) from None
        await rpc.start()
        http = asyncio.create_task(self._http.serve([at]))
        while not (self._http.started or http.done()):
            await asyncio.sleep(0)
        names = [model.name for model in self._models]
        ports = {"host": host, "port": self.ports[0], "grpc_port": self.ports[1]}
        log.info("serving", extra={"fields": {"models": names, **ports}})
        started()
        while not (self._http.should_exit or http.done()):
            await asyncio.sleep(0.1)
        await asyncio.gather(http, rpc.stop(GRACE_SECONDS))
        for model in self._models:
            model.batcher.close()
        self._decoders.shutdown()
        log.info("stopped")

    def stop(self) -> None:
        """Refuse new requests, answer the others and end `run`. Any thread may call."""
        self._http.should_exit = True


class _HTTP(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn would end the process by them at last."""
        yield
