"""A search keeps the fewest layers in float32 that let a graph pass."""

import re

import numpy as np
import pytest
import torch
from photographs import crops
from torch import nn

from rkdo_plugin.export import (
    EmbeddingSession,
    Encoder,
    ParityError,
    export_onnx,
    quantize,
)
from rkdo_plugin.export.verification.distances import distances
from rkdo_plugin.export.verification.gates import GATES, Gate


def preprocessing(image_size=16):
    return {"image_size": image_size, "mean": [0.45] * 3, "std": [0.25] * 3}


@pytest.fixture(scope="module")
def searched(chain, tmp_path_factory):
    """The float32 file, the int8 file, and the report of its search."""
    folder = tmp_path_factory.mktemp("searched")
    float32, int8 = folder / "float32.onnx", folder / "int8.onnx"
    export_onnx(chain, float32)
    report = quantize(float32, int8, crops(64, 16), images=crops(64, 16, seed=1))
    return float32, int8, report


def test_the_layers_around_an_outlier_stay_in_float32(searched):
    _, _, report = searched
    assert report.passed
    # The third and the fourth of five.
    assert sorted(report.float_layers) == ["node_conv2d_2", "node_conv2d_3"]
    assert report.layers == 5 and 0.4 < report.float_share < 0.5
    plain, *others = report.tried
    assert plain.strain > 1 and (plain.layers, plain.share) == (0, 0.0)
    methods = {attempt.method.split()[0] for attempt in others if not attempt.layers}
    assert methods == {"min-max", "moving", "percentile", "entropy"}
    assert all(
        attempt.strain > 1 for attempt in report.tried if attempt.layers < 2
    )  # with fewer layers nothing passes


def test_the_file_passes_on_images_that_the_search_never_saw(searched):
    float32, int8, _ = searched
    images = crops(64, 16, seed=2)
    apart = distances(
        *(
            EmbeddingSession(path, "cpu").embed(images).astype(np.float64)
            for path in (float32, int8)
        )
    )
    assert apart.one_minus_cosine.max() <= 2e-3


def test_equal_inputs_give_equal_bytes(searched, tmp_path):
    float32, int8, _ = searched
    again = tmp_path / "int8.onnx"
    quantize(float32, again, crops(64, 16), images=crops(64, 16, seed=1))
    assert again.read_bytes() == int8.read_bytes()
    manifest = int8.with_name("int8.onnx.sha256").read_text()
    assert manifest == again.with_name("int8.onnx.sha256").read_text()
    assert "in float32: node_conv2d_2" in manifest


def test_the_report_says_what_was_kept_tried_and_paid(searched):
    text = str(searched[2])
    for words in (
        "2 of 5 layers",
        "    node_conv2d_3\n",
        "times the size of the plain int8 file, which failed",
        "times the speed",
    ):
        assert words in text
    assert re.search(r"ranges +in float32 +multiply-adds +max +mean +kept", text)
    assert re.search(r"min-max, plain +0 +0\.0%", text)


def test_without_other_images_every_fourth_calibration_image_judges(searched, tmp_path):
    float32, _, _ = searched
    report = quantize(float32, tmp_path / "a.onnx", crops(96, 16))
    assert report.passed and report.images == 24


@pytest.mark.parametrize(
    ("calibration", "images", "found"), [(76, None, 19), (64, 19, 19)]
)
def test_too_few_images_to_judge_by_are_refused(
    searched, tmp_path, calibration, images, found
):
    few = None if images is None else crops(images, 16, seed=1)
    with pytest.raises(
        ValueError,
        match=f"least 20 images to judge .* got {found}; .* plain file failed",
    ):
        quantize(searched[0], tmp_path / "a.onnx", crops(calibration, 16), images=few)
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_passes_the_export_is_refused_with_the_table(
    searched, tmp_path, monkeypatch
):
    narrow = Gate(max_one_minus_cosine=1e-12)  # what no 8 bits can keep
    monkeypatch.setitem(GATES, "int8", narrow)
    with pytest.raises(ParityError, match="tried, with the largest") as caught:
        quantize(
            searched[0],
            tmp_path / "a.onnx",
            crops(64, 16),
            images=crops(64, 16, seed=1),
        )
    report = caught.value.report
    assert not report.passed and report.precision == "int8"
    assert len(report.tried) > 6 and all(each.strain > 1 for each in report.tried)
    assert max(each.share for each in report.tried) <= 0.5
    assert list(tmp_path.iterdir()) == []


class Upsampling(nn.Module):
    """onnxruntime has no integer kernel for a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.down = nn.Conv2d(3, 16, 3, stride=2)
        self.up = nn.ConvTranspose2d(16, 16, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(torch.relu(self.down(x))).mean((2, 3))


def test_a_layer_without_integer_kernel_stays_in_float32_and_is_named(tmp_path):
    report = export_onnx(
        Encoder(Upsampling(), **preprocessing()),
        tmp_path / "a.onnx",
        precision="int8",
        calibration=crops(64, 16),
    )
    assert report.passed
    (name,) = report.float_layers
    assert name.endswith("(ConvTranspose)") and name in str(report)
