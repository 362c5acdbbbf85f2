"""timm's models without their classifiers."""

from typing import Any

from torch import nn


def timm_encoder(
    model: str, in_channels: int = 3, pretrained: bool = False
) -> nn.Module:
    """Any timm model without its classifier.

    Args:
        model: timm's name, for example "vit_tiny_patch16_224".
        in_channels: Channels of the images. timm adapts the first layer of pretrained
            weights to other channels than 3.
        pretrained: Download timm's weights, or take them from its cache.

    Raises:
        ImportError: timm is not installed.
        OSError: The weights cannot be downloaded.
        ValueError: timm has no weights for this model.
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            f"encoder 'timm:{model}' needs timm: pip install 'rkdo-plugin[timm]'"
        ) from error
    if pretrained and timm.is_model(model) and not timm.is_model_pretrained(model):
        raise ValueError(
            f"Expected a model whose weights timm publishes but got '{model}'; "
            "timm.list_models(pretrained=True) lists them"
        )
    network: nn.Module = timm.create_model(
        model, pretrained=pretrained, num_classes=0, in_chans=in_channels
    )
    return network


def masked_vit(model: str, in_channels: int = 3, pretrained: bool = False) -> nn.Module:
    """A timm vision transformer in Lightly's wrapper, which can mask patches.

    Args:
        model: timm's name, for example "vit_tiny_patch16_224".
        in_channels: Channels of the images.
        pretrained: Download timm's weights, or take them from its cache.
    """
    from lightly.models.modules import MaskedVisionTransformerTIMM

    transformer: Any = timm_encoder(model, in_channels, pretrained)
    # Lightly's wrapper draws all weights and positions anew unless told to skip that.
    network: Any = (
        MaskedVisionTransformerTIMM(
            transformer, weight_initialization="skip", pos_embed_initialization="skip"
        )
        if pretrained
        else MaskedVisionTransformerTIMM(transformer)
    )
    network.pretrained_cfg = transformer.pretrained_cfg
    masked: nn.Module = network
    return masked
