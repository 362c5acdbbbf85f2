"""Crops of scikit-learn's photographs: real images for calibration and comparison."""

import numpy as np
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
