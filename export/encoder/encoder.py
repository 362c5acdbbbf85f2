"""A frozen encoder: uint8 images in, embeddings out, preprocessing inside."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rkdo_plugin.export.encoder.checks import (
    require_channels,
    require_finite,
    require_statistics,
)
from rkdo_plugin.export.encoder.image_size import (
    ImageSize,
    as_image_size,
    sides,
    written,
)
from rkdo_plugin.export.encoder.images import MAX_BATCH, require_images
from rkdo_plugin.export.encoder.pictures import UInt8Array


class Encoder(nn.Module):
    """An encoder with its preprocessing, frozen for inference.

        f = backbone((images / 255 - mean) / std),   embedding = f / ||f||

    With `normalize` off, the embedding is f itself. The backbone is copied, so you can
    go on training the module that you passed in. The encoder always stays in eval mode,
    even if you call `train`.

    Args:
        backbone: Module from images (B, C, H, W) to features (B, D). Feature maps
            (B, D, H', W') are averaged over H' and W'.
        image_size: Height and width of the images in pixels: one integer, or (H, W).
        mean: Mean of each channel, on the scale from 0 to 1.
        std: Standard deviation of each channel, on the scale from 0 to 1.
        normalize: Divide features by their norm. Switch it off if the features are not
            directions, for example positions on a map.
        any_size: Accept images of any height and width. The backbone must accept them,
            too. `image_size` is then the size that folders of images are resized to.

    Raises:
        TypeError: The image size is neither an integer nor a pair, or `mean` or `std`
            is not a sequence.
        ValueError: An argument is out of range, a weight is not finite, a batch norm
            takes its statistics from the batch, the backbone does not take images of
            this size, it returns neither features nor feature maps, or it accepts one
            image size only and `any_size` is on.

    Example:
        >>> encoder = Encoder(nn.Flatten(), image_size=2, mean=[0.5], std=[0.25])
        >>> encoder(torch.full((1, 2, 2, 1), 255, dtype=torch.uint8))
        tensor([[0.5000, 0.5000, 0.5000, 0.5000]])
        >>> encoder.embed(np.full((1, 2, 2, 1), 255, dtype=np.uint8)).shape
        (1, 4)
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        *,
        image_size: ImageSize,
        mean: Sequence[float],
        std: Sequence[float],
        normalize: bool = True,
        any_size: bool = False,
    ) -> None:
        super().__init__()
        require_channels(mean, std)
        self.image_size = as_image_size(image_size)
        self.channels = len(mean)
        self.normalize = normalize
        self.any_size = any_size
        with torch.no_grad():  # a TorchScript module's copies have no leaves otherwise
            self.backbone = copy.deepcopy(backbone).float()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))
        self.eval().requires_grad_(False)
        require_finite(self.backbone)
        require_statistics(self.backbone)
        parameter = next(self.backbone.parameters(), self.mean)
        self.to(parameter.device)
        shape = (1, *sides(self.image_size), self.channels)
        black = torch.zeros(shape, dtype=torch.uint8)
        with torch.inference_mode():
            try:
                self._dim = int(self(black.to(parameter.device)).shape[1])
            except (AssertionError, RuntimeError) as error:
                raise ValueError(
                    "Expected `image_size` to be a size that the backbone "
                    f"{type(backbone).__name__} takes but with "
                    f"{written(self.image_size)} it says: {error}"
                ) from error
            if any_size:
                self._require_any_size()

    def _require_any_size(self) -> None:
        # Not twice the size: patches may divide that, too.
        height, width = sides(self.image_size)
        size = (height, 2 * width + 1)
        wide = torch.zeros(1, *size, self.channels, dtype=torch.uint8)
        try:
            dim = self(wide.to(self.mean.device)).shape[1]
            if dim != self._dim:
                raise ValueError(f"{dim} components, and {self._dim} at `image_size`")
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(
                "Expected a backbone for images of any size but on an image of "
                f"{size[0]} x {size[1]} pixels it gives: {error}"
            ) from error

    @property
    def dim(self) -> int:
        """D, the number of components of an embedding."""
        return self._dim

    @property
    def fixed_size(self) -> ImageSize | None:
        """Height and width that images must have. None if they may have any."""
        return None if self.any_size else self.image_size

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in eval mode: Lightning and users call `train` on whole models."""
        return super().train(False)

    def embed(self, images: UInt8Array) -> npt.NDArray[np.float32]:
        """Embed a numpy array of images on the encoder's own device.

        Gradients and autocast are off. If someone put a part of the encoder back into
        training mode, it computes in eval mode here and keeps its mode afterwards.

        Args:
            images: uint8 (B, H, W, C), values 0 to 255. B may be 0. More than 256
                images run in several batches.

        Returns:
            Embeddings, float32 (B, D), of norm 1 if `normalize` is on.

        Raises:
            TypeError: The images are not uint8.
            ValueError: The images do not have the expected shape.
        """
        require_images(images, self.fixed_size, self.channels)
        embeddings = np.empty((len(images), self.dim), dtype=np.float32)
        with torch.inference_mode(), evaluating(self):
            for start in range(0, len(images), MAX_BATCH):
                part = slice(start, start + MAX_BATCH)
                # torch reads contiguous arrays, and warns about read-only ones.
                batch = np.require(images[part], requirements=["C", "W"])
                pixels = torch.from_numpy(batch).to(self.mean.device)
                embeddings[part] = self(pixels).cpu().numpy()
        return embeddings

    def forward(self, images: Tensor) -> Tensor:
        """Embed a tensor of images.

        Args:
            images: uint8 (B, H, W, C), values 0 to 255.

        Returns:
            Embeddings, float32 (B, D), of norm 1 if `normalize` is on. Features that
            are all zero stay zero.

        Raises:
            TypeError: The images are not uint8.
            ValueError: The images or the backbone's output have the wrong shape.
        """
        return self.finish(self.backbone(self.prepare(images)))

    def prepare(self, images: Tensor) -> Tensor:
        """Scale and normalise images: what the backbone reads, float32 (B, C, H, W)."""
        require_images(images, self.fixed_size, self.channels)
        if self.any_size:
            pixels = (images.float() / 255 - self.mean) / self.std
        else:
            # Compute on whole rows: loops over a last axis of 3 channels are slow.
            height, width = sides(self.image_size)
            mean, std = (row.repeat(width) for row in (self.mean, self.std))
            rows = (images.flatten(2).float() / 255 - mean) / std
            pixels = rows.reshape(-1, height, width, self.channels)
        # Without `contiguous` the exported graph gets Shape, Range and Gather nodes.
        planes: Tensor = pixels.permute(0, 3, 1, 2).contiguous()
        return planes

    def finish(self, features: Any) -> Tensor:
        """Turn what the backbone returns into embeddings (B, D)."""
        pooled = _pooled(features)
        if not self.normalize:
            return pooled
        # Not `vector_norm`: it becomes ReduceL2. onnxruntime adds the squares of
        # ReduceL2 one by one in float32, and from 2048 components on the norms are off
        # by more than 1e-6.
        norm = (pooled * pooled).sum(dim=1, keepdim=True).sqrt()
        return pooled / norm.clamp_min(1e-12)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode without autocast; restore each part's mode after."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with (
            torch.autocast("cpu", enabled=False),
            torch.autocast("cuda", enabled=False),
        ):
            yield
    finally:
        for part, training in modes.items():
            part.training = training


def _pooled(features: Any) -> Tensor:
    """Average feature maps (B, D, H', W') to features (B, D), float32."""
    if isinstance(features, Tensor) and features.ndim == 2:
        return features.float()
    if isinstance(features, Tensor) and features.ndim == 4:
        return features.float().mean(dim=(2, 3))
    got = (
        f"a tensor of shape {tuple(features.shape)}"
        if isinstance(features, Tensor)
        else type(features).__name__
    )
    raise ValueError(
        "Expected the backbone to return features (B, D) or feature maps (B, D, H, W) "
        f"but got {got}; wrap it in a module that returns one of them"
    )
