import sys

import numpy as np
import pytest
from checkout import ROOT

sys.path.append(str(ROOT / "benchmarks"))  # they import each other as scripts do


@pytest.fixture
def arrays():
    """72 images of 32 pixels in colour for training, 36 for testing, 3 classes."""
    generator = np.random.default_rng(0)
    made = {}
    for before, count in (("", 72), ("t", 36)):
        labels = np.arange(count) % 3
        pixels = generator.integers(0, 100, (count, 32, 32, 3))
        pixels[np.arange(count), :, :, labels] += 100
        made |= {f"{before}x": pixels.astype(np.uint8), f"{before}y": labels}
    return made
