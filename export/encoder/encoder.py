"""A frozen encoder: uint8 images in, unit embeddings out, preprocessing inside."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from rkdo_plugin.export.encoder.images import require_images


class Encoder(nn.Module):
    """An encoder with its preprocessing, frozen for inference.

        embedding = f / ||f||, or f itself,  f = backbone((images / 255 - mean) / std)

    The backbone is copied, so the module that was passed in goes on training
    untouched. The encoder stays in eval mode, whatever `train` is called with.

    Args:
        backbone: Module from images (B, C, H, W) to features (B, D); feature maps
            (B, D, H', W') are averaged over H' and W'.
        image_size: Height and width of the images in pixels.
        mean: Mean of each channel, on the scale from 0 to 1.
        std: Standard deviation of each channel, on the same scale.
        normalize: Divide features by their norm. Off for what is no direction, such as
            places on a map.
        any_size: Take images of any height and width, which the backbone must take too;
            `image_size` is then what folders of images are resized to.

    Raises:
        TypeError: The image size is no integer, or the mean or std no sequence.
        ValueError: An argument is out of range, a weight is not finite, a norm takes
            its statistics from the batch, the backbone's output is neither features nor
            feature maps, or it takes one size only where any is asked for.

    Example:
        >>> encoder = Encoder(nn.Flatten(), image_size=2, mean=[0.5], std=[0.25])
        >>> encoder(torch.full((1, 2, 2, 1), 255, dtype=torch.uint8))
        tensor([[0.5000, 0.5000, 0.5000, 0.5000]])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        *,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        normalize: bool = True,
        any_size: bool = False,
    ) -> None:
        super().__init__()
        _require_preprocessing(image_size, mean, std)
        self.image_size = image_size
        self.channels = len(mean)
        self.normalize = normalize
        self.any_size = any_size
        self.backbone = copy.deepcopy(backbone).float()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))
        self.eval().requires_grad_(False)
        _require_finite(self.backbone)
        _require_statistics(self.backbone)
        parameter = next(self.backbone.parameters(), self.mean)
        self.to(parameter.device)
        black = torch.zeros(1, image_size, image_size, self.channels, dtype=torch.uint8)
        with torch.inference_mode():
            self._dim = int(self(black.to(parameter.device)).shape[1])
            if any_size:
                self._require_any_size()

    def _require_any_size(self) -> None:
        # Not twice the size: patches divide that too.
        size = (self.image_size, 2 * self.image_size + 1)
        wide = torch.zeros(1, *size, self.channels, dtype=torch.uint8)
        try:
            dim = self(wide.to(self.mean.device)).shape[1]
            if dim != self._dim:
                raise ValueError(f"{dim} components, and {self._dim} on a square")
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"Expected a backbone for images of any size but on {size[0]} x "
                f"{size[1]} pixels it gives: {error}"
            ) from error

    @property
    def dim(self) -> int:
        """D, the number of components of an embedding."""
        return self._dim

    @property
    def fixed_size(self) -> int | None:
        """Height and width that images must have; None where any will do."""
        return None if self.any_size else self.image_size

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in eval mode: Lightning and users call `train` on whole models."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: uint8 (B, H, W, C), values 0 to 255.

        Returns:
            Embeddings, float32 (B, D), of norm 1 if `normalize`; zero features stay
            zero.

        Raises:
            TypeError: The images are not uint8.
            ValueError: The images or the backbone's output have the wrong shape.
        """
        return self.finish(self.backbone(self.prepare(images)))

    def prepare(self, images: Tensor) -> Tensor:
        """What the backbone reads: float32 (B, C, H, W), scaled and normalised."""
        require_images(images, self.fixed_size, self.channels)
        if self.any_size:
            pixels = (images.float() / 255 - self.mean) / self.std
        else:
            # Whole rows: loops over a last axis of a few channels are slow.
            mean, std = (row.repeat(self.image_size) for row in (self.mean, self.std))
            rows = (images.flatten(2).float() / 255 - mean) / std
            pixels = rows.reshape(-1, self.image_size, self.image_size, self.channels)
        # Without `contiguous` the exported graph gets Shape, Range and Gather nodes.
        planes: Tensor = pixels.permute(0, 3, 1, 2).contiguous()
        return planes

    def finish(self, features: Any) -> Tensor:
        """Embeddings (B, D) of what the backbone returns."""
        pooled = _pooled(features)
        if not self.normalize:
            return pooled
        # Not `vector_norm`: onnxruntime adds the squares of its ReduceL2 one by one in
        # float32, and from 2048 components on the norms are off by more than 1e-6.
        norm = (pooled * pooled).sum(dim=1, keepdim=True).sqrt()
        return pooled / norm.clamp_min(1e-12)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluate a module in the precision that it has, whatever the caller trains in.

    Its parts' own modes come back.
    """
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
    """Features (B, D) from features (B, D) or feature maps (B, D, H', W'), float32."""
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
        f"Expected the backbone to return features (B, D) or feature maps "
        f"(B, D, H, W) but got {got}; wrap it in a module that returns one of them"
    )


def _require_preprocessing(
    image_size: int, mean: Sequence[float], std: Sequence[float]
) -> None:
    if not isinstance(image_size, Integral) or not (
        hasattr(mean, "__len__") and hasattr(std, "__len__")
    ):
        raise TypeError(
            "Expected `image_size` to be one integer and `mean` and `std` to hold one "
            f"number a channel but got {image_size!r}, {mean!r} and {std!r}"
        )
    if image_size < 1:
        raise ValueError(f"Expected `image_size` to be at least 1 but got {image_size}")
    if not 0 < len(mean) == len(std):
        raise ValueError(
            "Expected `mean` and `std` to hold one number a channel but got "
            f"{list(mean)} and {list(std)}"
        )
    if not (all(0 <= m <= 1 for m in mean) and all(0 < s <= 1 for s in std)):
        raise ValueError(
            "Expected `mean` within [0, 1] and `std` within (0, 1], for images divided "
            f"by 255, but got {list(mean)} and {list(std)}"
        )


def _require_finite(backbone: nn.Module) -> None:
    broken = [
        name
        for name, value in backbone.state_dict().items()
        if not torch.isfinite(value).all()
    ]
    if broken:
        raise ValueError(
            f"Expected finite weights but got NaN or infinity in {len(broken)}: "
            + ", ".join(broken[:3])
        )


def _require_statistics(backbone: nn.Module) -> None:
    """Refuse norms whose embedding of an image would depend on the others with it."""
    without = [
        name
        for name, part in backbone.named_modules()
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
        and part.running_mean is None
    ]
    if without:
        raise ValueError(
            "Expected batch norms with statistics of training (track_running_stats) "
            f"but {len(without)} have none: {', '.join(without[:3])}"
        )
