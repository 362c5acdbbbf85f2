"""A server in a thread of this process, with encoders or with stubs of them."""

import asyncio
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import tritonclient.http
from PIL import Image

from rkdo_plugin.export.serving.server.run import Server, listening
from rkdo_plugin.export.serving.server_settings import ServerSettings, read_tls


class Stub:
    """An encoder whose embedding of an image is its first pixel, and that can wait."""

    image_size = fixed_size = 2
    channels, dim = 3, 3

    def __init__(self):
        self.batches, self.entered = [], threading.Semaphore(0)
        self.may_run = threading.Event()
        self.may_run.set()

    def embed(self, images):
        self.batches.append(len(images))
        self.entered.release()
        assert self.may_run.wait(60)
        if (images == 13).all(axis=(1, 2, 3)).any():
            raise RuntimeError("13")
        return images[:, 0, 0].astype(np.float32)


@contextmanager
def serving(sessions, keys=(), **options):
    settings = ServerSettings(port=0, grpc_port=0, **options)
    server = Server(sessions, settings, keys, read_tls(settings))
    started = threading.Event()
    with listening("127.0.0.1", 0) as at:
        thread = threading.Thread(
            target=lambda: asyncio.run(server.run(at, started.set)), daemon=True
        )
        thread.start()
        assert started.wait(60)
        try:
            yield server
        finally:
            server.stop()
            thread.join(60)
            assert not thread.is_alive()


def address(server, protocol=0):
    return f"127.0.0.1:{server.ports[protocol]}"


def tensor(array, name="image", of=tritonclient.http, **how):
    kind = "BYTES" if array.dtype == object else "UINT8"
    made = of.InferInput(name, list(array.shape), kind)
    made.set_data_from_numpy(array, **how)
    return made


def asked(server, array):
    """A future of the vectors that a thread asks for.

    NVIDIA's own `async_infer` sends nothing while this thread waits for something else.
    """

    def ask():
        with tritonclient.http.InferenceServerClient(address(server)) as client:
            return client.infer("small", [tensor(array)]).as_numpy("embedding")

    return ThreadPoolExecutor(1).submit(ask)


def files(images, kind="PNG"):
    """Each image as the bytes of a file."""
    found = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, kind)
        found.append(file.getvalue())
    return np.array(found, dtype=object)
