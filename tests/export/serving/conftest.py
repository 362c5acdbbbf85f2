import numpy as np
import pytest
from PIL import Image

from rkdo_plugin.export import EmbeddingSession


@pytest.fixture
def session(small_file):
    return EmbeddingSession(small_file, provider="cpu")


@pytest.fixture
def numbered_images(tmp_path, images):
    """Makes a folder of numbered images, of which two cannot be read."""

    def make(count):
        folder = tmp_path / "images"
        folder.mkdir()
        for number in range(count):
            image = np.roll(images[number % len(images)], number, axis=1)
            Image.fromarray(image).save(folder / f"{number:02}.png")
        (folder / "05.png").write_bytes((folder / "05.png").read_bytes()[:60])
        (folder / "17.png").write_text("no picture")
        return folder

    return make
