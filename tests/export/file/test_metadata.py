"""The metadata says how to use a file, and the docs say what each key means."""

import re

import onnxruntime
import pytest
import torch
from checkout import ROOT
from photographs import crops

from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder, export_onnx, quantize
from rkdo_plugin.export.file.model_file import read_model

APART = {"rkdo.weights_file", "rkdo.weights_sha256"}


def documented():
    """Keys in the table of docs/export.md."""
    page = (ROOT / "docs" / "export.md").read_text()
    return re.findall(r"^\| `(rkdo\.[^`]+)` \|", page, flags=re.M)


def test_the_file_says_how_to_use_it(small_file):
    properties = onnxruntime.InferenceSession(
        small_file, providers=["CPUExecutionProvider"]
    ).get_modelmeta()
    metadata = properties.custom_metadata_map
    assert all(key.startswith("rkdo.") for key in metadata)
    assert metadata["rkdo.image_size"] == "16"
    assert metadata["rkdo.any_size"] == "false"
    assert metadata["rkdo.channels"] == "3"
    assert metadata["rkdo.mean"] == "[0.48, 0.45, 0.41]"
    assert metadata["rkdo.std"] == "[0.23, 0.22, 0.26]"
    assert metadata["rkdo.dim"] == "96"
    assert metadata["rkdo.normalize"] == "true"
    assert metadata["rkdo.precision"] == "fp32"
    assert metadata["rkdo.resize"].startswith("PIL bilinear")
    assert metadata["rkdo.version.torch"] == torch.__version__
    assert len(metadata["rkdo.sha256"]) == 64


@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8", "resize", "any_size"])
def test_the_docs_have_a_row_for_each_key_of_a_file(kind, make_small, tmp_path):
    encoder, options = make_small(), {}
    if kind == "any_size":
        backbone = create_encoder("small-convnet")
        preprocessing = {"image_size": 16, "mean": [0.5] * 3, "std": [0.5] * 3}
        encoder = Encoder(backbone, any_size=True, **preprocessing)
    elif kind == "resize":
        options = {"resize": True}
    elif kind == "int8":
        options = {"precision": kind, "calibration": crops(128, 16)}
    else:
        options = {"precision": kind}
    path = tmp_path / "a.onnx"
    export_onnx(encoder, path, **options)
    assert read_model(path).metadata.keys() == set(documented()) - APART


def test_the_docs_have_a_row_for_each_key_of_a_file_with_weights_beside_it(
    make_small, tmp_path, weights_beside
):
    export_onnx(make_small(), tmp_path / "a.onnx")
    assert read_model(tmp_path / "a.onnx").metadata.keys() == set(documented())
    assert len(documented()) == len(set(documented()))


def test_a_quantised_file_keeps_the_keys_and_changes_its_own_values(
    small_file, tmp_path
):
    quantize(small_file, tmp_path / "a.onnx", crops(128, 16))
    before, after = (read_model(p).metadata for p in (small_file, tmp_path / "a.onnx"))
    assert before.keys() == after.keys()
    changed = {key for key in after if after[key] != before[key]}
    assert changed == {"rkdo.precision", "rkdo.sha256"}
