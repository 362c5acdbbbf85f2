"""One encoder as a model of KServe's."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import partial
from uuid import uuid4

import numpy as np
from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InvalidInput

from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.export.encoder.images import require_images
from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.metadata import INPUT, OUTPUT
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.serving.server.batching import Batcher
from rkdo_plugin.export.serving.server.decoding import decode
from rkdo_plugin.export.serving.server.metrics import count_batch
from rkdo_plugin.export.serving.server.tensors import (
    ENCODED,
    files_of,
    images_of,
    only_input,
)
from rkdo_plugin.export.serving.server_settings import ServerSettings

Description = dict[str, str | list[int]]


class EncoderModel(Model):  # type: ignore[misc]
    """An encoder that answers requests of the Open Inference Protocol.

    Args:
        name: Its name in requests.
        session: The encoder.
        settings: The limits.
        decoders: Threads that decode image files.
    """

    def __init__(
        self,
        name: str,
        session: EmbeddingSession,
        settings: ServerSettings,
        decoders: Executor,
    ) -> None:
        super().__init__(name)
        self._session, self._decoders = session, decoders
        self._max_pixels = settings.max_pixels
        self.batcher = Batcher(
            session.embed,
            max_batch=settings.max_batch,
            max_delay=settings.max_delay_ms / 1000,
            max_queue=settings.max_queue,
            ran=partial(count_batch, name),
        )
        self.ready = True

    def get_input_types(self) -> list[Description]:
        """The two forms of input; -1 is any size."""
        size = self._session.fixed_size
        height, width = (-1, -1) if size is None else sides(size)
        shape = [-1, height, width, self._session.channels]
        return [
            {"name": INPUT, "datatype": "UINT8", "shape": shape},
            {"name": ENCODED, "datatype": "BYTES", "shape": [-1]},
        ]

    def get_output_types(self) -> list[Description]:
        """The embeddings (B, D)."""
        shape = [-1, self._session.dim]
        return [{"name": OUTPUT, "datatype": "FP32", "shape": shape}]

    async def predict(
        self, payload: InferRequest, headers: dict[str, str] | None = None
    ) -> InferResponse:
        """Embed the images of one request, in a batch with those of others.

        Raises:
            InvalidInput: The request is no images, or has too many of them.
            QueueFullError: Too many images wait already.
        """
        tensor = only_input(payload)
        with ExitStack() as place:
            try:
                place.enter_context(self.batcher.accepted(tensor.shape[0]))
                images = await self._images(tensor)
            except ValueError as error:
                raise InvalidInput(str(error)) from error
            embeddings = await asyncio.wrap_future(self.batcher.submit(images))
        output = InferOutput(OUTPUT, list(embeddings.shape), "FP32")
        output.set_data_from_numpy(embeddings)
        return InferResponse(
            response_id=payload.id or uuid4().hex,
            model_name=self.name,
            infer_outputs=[output],
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )

    async def _images(self, tensor: InferInput) -> UInt8Array:
        if tensor.name == ENCODED:
            return await self._decoded(files_of(tensor))
        images = images_of(tensor)
        require_images(images, self._session.fixed_size, self._session.channels)
        height, width = images.shape[1:3]
        if height * width > self._max_pixels:
            raise ValueError(
                f"Expected at most {self._max_pixels} pixels but got {height} x {width}"
            )
        return images

    async def _decoded(self, files: Sequence[bytes]) -> UInt8Array:
        loop = asyncio.get_running_loop()
        size, channels = self._session.image_size, self._session.channels
        found = await asyncio.gather(
            *(
                loop.run_in_executor(
                    self._decoders, decode, file, size, channels, self._max_pixels
                )
                for file in files
            ),
            return_exceptions=True,
        )
        images = []
        for number, image in enumerate(found):
            if isinstance(image, ValueError):
                raise ValueError(f"image {number} of `{ENCODED}`: {image}")
            if isinstance(image, BaseException):
                raise image
            images.append(image)
        return np.stack(images)
