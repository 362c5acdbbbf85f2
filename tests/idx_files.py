"""Fashion-MNIST's files, as they are published, with a few random images."""

import gzip
import struct

import numpy as np

RANDOM = np.random.default_rng(0)


def idx(array):
    dimensions = struct.pack(f">{array.ndim}i", *array.shape)
    return b"\0\0\x08" + bytes([array.ndim]) + dimensions + array.tobytes()


def fashion(folder, pack=False):
    """Four training and two test images as the original files."""
    folder.mkdir(parents=True)
    written = {}
    for part, count in (("train", 4), ("t10k", 2)):
        images = RANDOM.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = gzip.compress(idx(array)) if pack else idx(array)
            suffix = ".gz" if pack else ""
            (folder / f"{part}-{name}-ubyte{suffix}").write_bytes(content)
        written[part] = images
    return written
