"""Both sides run the same batches, of other shapes too if they can."""

import numpy as np

from rkdo_plugin import create_encoder
from rkdo_plugin.export import EmbeddingSession, Encoder, export_onnx, verify

PREPROCESSING = {"image_size": 32, "mean": [0.48, 0.45, 0.41], "std": [0.23] * 3}


def test_other_sizes_are_compared_where_both_make_the_same_of_them(tmp_path):
    backbone = create_encoder("small-convnet")
    files = {name: tmp_path / f"{name}.onnx" for name in ("one", "any", "resizing")}
    export_onnx(Encoder(backbone, **PREPROCESSING), files["one"])
    export_onnx(Encoder(backbone, any_size=True, **PREPROCESSING), files["any"])
    export_onnx(Encoder(backbone, **PREPROCESSING), files["resizing"], resize=True)
    for file in files.values():
        for reference in files.values():
            assert verify(file, EmbeddingSession(reference, "cpu")).passed


def test_the_batches_that_were_run_are_named(small_file, make_small, images):
    many = np.resize(images, (43 + 64 + 5, 16, 16, 3))
    report = verify(small_file, make_small(), many)
    assert report.batches == (1, 2, 5, 7, 33, 64)
