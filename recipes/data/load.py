"""Image data by name: scikit-learn's digits, torchvision's data sets, a folder."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from rkdo_plugin.export.encoder.image_size import ImageSize, as_image_size
from rkdo_plugin.recipes.data import folder, named
from rkdo_plugin.recipes.data.draw import draw
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.data.named import DATA_VARIABLE

KNOWN: dict[str, Callable[[list[Path]], ImageData]] = {
    "digits": named.digits,
    "fashion-mnist": named.fashion_mnist,
    **{name: partial(named.published, name) for name in named.PUBLISHED},
}


def load_data(
    name: str,
    *,
    root: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    image_size: ImageSize | None = None,
) -> ImageData:
    """Load a data set; nothing is ever downloaded.

    Args:
        name: "digits", "fashion-mnist", "cifar10", "cifar100", "stl10" or the path of
            a folder of images (`rkdo_plugin.recipes.data.folder`).
        root: Folder that holds the data sets. Without it they are looked for in the
            folder that `RKDO_DATA` names, in Debian's /usr/share/datasets and in
            ./data.
        limit: Keep `limit` training images only, drawn evenly from all classes.
        seed: Seed of that draw.
        image_size: Height and width in pixels that the encoder reads: one integer, or
            (H, W); the data's own by default. A vision transformer has a fixed size.

    Raises:
        ValueError: The name is neither known nor a folder, or `limit` is not positive.
        FileNotFoundError: The files are in none of the places looked at, or the
            folder holds no images.

    Example:
        >>> data = load_data("digits", limit=1000)
        >>> len(data.train), len(data.test), data.image_size, data.num_classes
        (1000, 360, 28, 10)
    """
    if limit is not None and limit < 1:
        raise ValueError(f"Expected `limit` to be at least 1 but got {limit}")
    if name in KNOWN:
        data = KNOWN[name](_places(root))
    elif Path(name).is_dir():
        data = folder.load_folder(Path(name))
    else:
        raise ValueError(
            "Expected `data` to be a folder or a known name but there is no data named "
            f"'{name}', and no folder there either; known: {', '.join(sorted(KNOWN))}"
        )
    if limit is not None:
        data = replace(data, train=draw(data.train, limit, seed))
    if image_size is not None:
        data = replace(data, image_size=as_image_size(image_size))
    return data


def _places(root: str | None) -> list[Path]:
    """Where data sets are looked for; an explicit root is the only place."""
    if root is not None:
        return [Path(root)]
    places = [Path("/usr/share/datasets"), Path("data")]
    variable = os.environ.get(DATA_VARIABLE)
    return [Path(variable), *places] if variable else places
