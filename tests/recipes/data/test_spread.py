"""Images for an export: of the encoder's size and channels, wherever they come from."""

import numpy as np
import pytest
from PIL import Image
from torch import nn

from rkdo_plugin.export import Encoder
from rkdo_plugin.recipes.data.spread import (
    calibration_images,
    labelled_images,
    parity_images,
)


def encoder(channels):
    return Encoder(
        nn.Flatten(), image_size=8, mean=[0.5] * channels, std=[0.5] * channels
    )


@pytest.fixture
def pictures(tmp_path):
    """Twenty coloured pictures of two classes."""
    generator = np.random.default_rng(0)
    for number in range(20):
        folder = tmp_path / f"class{number % 2}"
        folder.mkdir(exist_ok=True)
        pixels = generator.integers(0, 256, (12, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return tmp_path


def test_a_grey_encoder_reads_colours_as_grey(pictures):
    images, labels = labelled_images(str(pictures), None, encoder(1), 4)
    assert images.shape == (4, 8, 8, 1) and labels.tolist() == [0, 0, 1, 1]
    for image, label in zip(images, labels, strict=True):
        greys = [
            np.asarray(Image.open(file).convert("L").crop((0, 2, 8, 10)))
            for file in (pictures / f"class{label}").iterdir()
        ]
        assert sum(np.array_equal(image[..., 0], grey) for grey in greys) == 1


def test_the_seed_decides_which_images_are_drawn(pictures):
    first, again, other = (
        calibration_images(str(pictures), None, encoder(3), seed=0),
        calibration_images(str(pictures), None, encoder(3), seed=0),
        labelled_images(str(pictures), None, encoder(3), 2, seed=5)[0],
    )
    np.testing.assert_array_equal(first, again)
    assert (labelled_images(str(pictures), None, encoder(3), 2)[0] != other).any()


def test_a_colour_encoder_reads_grey_as_three_equal_channels():
    images = parity_images("digits", None, encoder(3))
    assert images.shape == (43, 8, 8, 3)
    np.testing.assert_array_equal(images[..., :1], images[..., 1:2])
    np.testing.assert_array_equal(images[..., :1], images[..., 2:])


def test_calibration_takes_what_is_trained_on(pictures):
    assert calibration_images(str(pictures), None, encoder(1)).shape == (16, 8, 8, 1)


def test_an_unreadable_picture_is_named(pictures):
    broken = pictures / "class0" / "08.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(OSError, match=f"Expected an image in {broken} but got"):
        labelled_images(str(pictures), None, encoder(3), 4)
