"""The encoder that training starts from: random, from a file, or as published."""

import inspect
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from rkdo_plugin.export.encoder.checkpoint import read_weights
from rkdo_plugin.export.encoder.checks import require_finite
from rkdo_plugin.export.encoder.freeze import load_weights
from rkdo_plugin.plugins.create import create_encoder
from rkdo_plugin.plugins.host import host


class Normalization(NamedTuple):
    """Mean and standard deviation of each channel, of intensities in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def start_encoder(
    encoder: str | nn.Module,
    in_channels: int,
    *,
    weights: str | Path | None = None,
    branch: str | None = None,
    pretrained: bool = False,
) -> tuple[nn.Module, Normalization | None]:
    """An encoder with its first weights.

    Args:
        encoder: A registered encoder's name, or a module, which is filled in place.
        in_channels: Channels of the images.
        weights: A file of weights, in any form that `freeze` reads. All of the
            encoder's weights must be in it; classifiers and heads are left out.
        branch: Where in the file the encoder is, if names do not tell.
        pretrained: Take the weights that the network's authors publish.

    Returns:
        The encoder, and how its weights read images: what the file of a run or the
        publisher says, for as many channels. None where nothing is said.

    Raises:
        OSError: There is no such file, or the published weights cannot be downloaded.
        ValueError: `weights` and `pretrained` are both given; the encoder has no such
            weights; or the file does not fit it.

    Example:
        >>> network, _ = start_encoder("small-convnet", 1)
        >>> torch.save(network.state_dict(), "start.pth")
        >>> again, _ = start_encoder("small-convnet", 1, weights="start.pth")
        >>> torch.equal(again.layers[0][0].weight, network.layers[0][0].weight)
        True
    """
    if weights is not None and pretrained:
        raise ValueError(
            f"Expected `weights` or `pretrained` but got both: {weights}, and the "
            "weights that the network's authors publish"
        )
    if branch is not None and weights is None:
        raise ValueError(f"Expected `weights` beside `branch` but got only '{branch}'")
    if pretrained:
        network = published_encoder(encoder, in_channels)
        return network, _stated(getattr(network, "pretrained_cfg", {}), in_channels)
    if isinstance(encoder, str):
        encoder = create_encoder(encoder, in_channels=in_channels)
    if weights is None:
        return encoder, None
    checkpoint = read_weights(Path(weights))
    if not encoder.state_dict():
        raise ValueError(
            f"Expected an encoder that {weights} can fill but {type(encoder).__name__} "
            "has no weights"
        )
    load_weights(encoder, checkpoint, branch)
    require_finite(encoder)
    return encoder, _stated(checkpoint.record, in_channels)


def published_encoder(name: str | nn.Module, in_channels: int) -> nn.Module:
    """An encoder with the weights that its authors publish.

    They are downloaded unless they are in the cache of torchvision or timm. How they
    read images is in the attribute `pretrained_cfg`, as timm has it.

    Args:
        name: A registered encoder's name.
        in_channels: Channels of the images.

    Raises:
        OSError: The weights cannot be downloaded.
        ValueError: There are no published weights for this encoder.
    """
    if not isinstance(name, str) or "pretrained" not in _arguments(name):
        got = f"'{name}'" if isinstance(name, str) else f"a {type(name).__name__}"
        raise ValueError(
            "Expected an encoder with published weights for `pretrained`, which are "
            f"{', '.join(_with_published_weights())}, but got {got}"
        )
    try:
        network: nn.Module = create_encoder(
            name, in_channels=in_channels, pretrained=True
        )
    except OSError as error:
        reason = str(error).strip().split("\n")[0]
        raise OSError(
            f"Expected to download the published weights of '{name}' but got: {reason};"
            " download them elsewhere and give the file: --weights FILE for an "
            "encoder, --field FEATURES.npy for a field"
        ) from error
    return network


def _arguments(name: str) -> list[str]:
    """The arguments of a registered encoder's factory."""
    factory = host().factory("encoder", name.partition(":")[0])
    return list(inspect.signature(factory).parameters)


def _with_published_weights() -> list[str]:
    """The encoders that may be pretrained, as you would type them."""
    found = []
    for name in sorted(host().contributions("encoder")):
        with suppress(ImportError, ValueError):  # a plugin's mistake is not this one
            arguments = _arguments(name)
            if "pretrained" in arguments:
                found.append(name if arguments[0] == "in_channels" else f"{name}:NAME")
    return found


def _stated(source: Mapping[str, Any], in_channels: int) -> Normalization | None:
    """The normalisation that a record or a `pretrained_cfg` states, for C channels."""
    mean, std = (tuple(source.get(name) or ()) for name in ("mean", "std"))
    fits = len(mean) == len(std) == in_channels
    return Normalization(mean, std) if fits else None
