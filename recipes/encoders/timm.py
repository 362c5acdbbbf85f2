"""timm's models without their classifiers."""

from torch import nn


def timm_encoder(model: str, in_channels: int = 3) -> nn.Module:
    """Any timm model without its classifier, created without pretrained weights.

    Args:
        model: timm's name, for example "vit_tiny_patch16_224".
        in_channels: Channels of the images.

    Raises:
        ImportError: timm is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            f"encoder 'timm:{model}' needs timm: pip install 'rkdo-plugin[timm]'"
        ) from error
    network: nn.Module = timm.create_model(model, num_classes=0, in_chans=in_channels)
    return network


def masked_vit(model: str, in_channels: int = 3) -> nn.Module:
    """A timm vision transformer in Lightly's wrapper, which can mask patches.

    Args:
        model: timm's name, for example "vit_tiny_patch16_224".
        in_channels: Channels of the images.
    """
    from lightly.models.modules import MaskedVisionTransformerTIMM

    network: nn.Module = MaskedVisionTransformerTIMM(timm_encoder(model, in_channels))
    return network
