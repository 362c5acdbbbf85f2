"""The numbers by which a view is augmented, and those of Lightly's transforms."""

from dataclasses import dataclass
from typing import Any

from lightly.transforms.gaussian_blur import GaussianBlur
from lightly.transforms.rotation import RandomRotate
from lightly.transforms.solarize import RandomSolarization
from lightly.transforms.torchvision_v2_compatibility import ToTensor
from torchvision.transforms import v2

from rkdo_plugin.export.encoder.image_size import ImageSize, as_image_size

Range = tuple[float, float]


@dataclass(frozen=True)
class View:
    """How an image is augmented: the settings of Lightly's transforms.

    Colours change in a share `jitter` of the images. Of the four changes of colour,
    None is no change.

    Attributes:
        size: Height and width in pixels.
        scale: Smallest and largest crop, as fractions of the area.
        flip: Probability of a mirror image.
        jitter: Probability that colours change.
        brightness: Smallest and largest factor.
        contrast: Smallest and largest factor.
        saturation: Smallest and largest factor.
        hue: Smallest and largest shift, in turns of the colour wheel.
        grayscale: Probability of an image without colour.
        blur: Probability of a Gaussian blur.
        sigmas: Smallest and largest standard deviation of the blur, in pixels.
        solarize: Probability that bright pixels are inverted.
        solarize_first: Invert before the blur instead of after it.
    """

    size: ImageSize
    scale: Range = (0.08, 1.0)
    flip: float = 0.0
    jitter: float = 0.0
    brightness: Range | None = None
    contrast: Range | None = None
    saturation: Range | None = None
    hue: Range | None = None
    grayscale: float = 0.0
    blur: float = 0.0
    sigmas: Range = (0.1, 2.0)
    solarize: float = 0.0
    solarize_first: bool = False


def read_view(transform: Any) -> View:
    """The settings of one view of a Lightly transform.

    Args:
        transform: One of a `MultiViewTransform`'s `transforms`.

    Raises:
        ValueError: It does something to an image that has no setting here.

    Example:
        >>> from lightly.transforms import SimCLRTransform
        >>> view = read_view(SimCLRTransform(input_size=96).transforms[0])
        >>> view.size, view.flip, view.hue
        (96, 0.5, (-0.2, 0.2))
    """
    stages = transform if isinstance(transform, v2.Compose) else transform.transform
    found: dict[str, Any] = {}
    for stage in stages.transforms:
        settings = _settings(stage)
        if "solarize" in settings:
            settings["solarize_first"] = "blur" not in found
        found |= settings
    if "size" not in found:
        raise ValueError(
            "Expected a view with a RandomResizedCrop with augment='batches' but got "
            f"{transform}"
        )
    return View(**found)


def _settings(stage: Any) -> dict[str, Any]:
    match stage:
        case v2.RandomResizedCrop(size=size, scale=scale):
            return {"size": as_image_size(tuple(size)), "scale": tuple(scale)}
        case v2.RandomHorizontalFlip(p=p):
            return {"flip": p}
        case v2.RandomApply(transforms=[v2.ColorJitter() as colours], p=p):
            changes = ("brightness", "contrast", "saturation", "hue")
            return {"jitter": p} | {name: getattr(colours, name) for name in changes}
        case v2.RandomGrayscale(p=p):
            return {"grayscale": p}
        case GaussianBlur(prob=p, sigmas=sigmas):
            return {"blur": p, "sigmas": tuple(sigmas)}
        case RandomSolarization(prob=p, threshold=128):
            return {"solarize": p}
        case v2.RandomVerticalFlip(p=0) | RandomRotate(prob=0):
            return {}
        case ToTensor() | v2.Normalize():
            return {}
    raise ValueError(
        "Expected views of crops, mirror images, colours, blur and solarisation with "
        f"augment='batches' but got {stage}; augment='images' takes any transform"
    )
