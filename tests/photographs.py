"""Crops of scikit-learn's photographs, and folders of random images."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images


def crops(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Crops of both photographs in turn, uint8 (count, size, size, 3)."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        photograph = load_sample_images().images[number % 2]
        top, left = (generator.integers(0, n - size) for n in photograph.shape[:2])
        found.append(photograph[top : top + size, left : left + size])
    return np.stack(found)


def random_folder(folder: Path, count: int, shape: tuple[int, ...], kind="png") -> Path:
    """A new folder of images of random pixels, uint8 (H, W) or (H, W, 3)."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = generator.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.{kind}")
    return folder
