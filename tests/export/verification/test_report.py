"""A report names each figure, its bound, and what failed."""

import dataclasses
import json
import math

import numpy as np
import pytest
from torch import nn

from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder, ParityError, Report, export_onnx, verify
from rkdo_plugin.export.encoder.images import sample_images
from rkdo_plugin.export.verification.attempts import Attempt


def test_the_bounds_of_neighbours_and_their_accuracy_refuse(small_file, make_small):
    report = verify(small_file, make_small())
    near = {"precision": "int8", "neighbors_kept": 0.941, "knn": (0.9, 0.8951)}
    assert all(figure.held for figure in dataclasses.replace(report, **near).figures)
    for far in ({"neighbors_kept": 0.939}, {"knn": (0.9, 0.8949)}):
        figures = dataclasses.replace(report, **(near | far)).figures
        assert [figure.held for figure in figures].count(False) == 1


def test_places_on_a_map_are_held_to_their_largest_component(tmp_path):
    backbone = nn.Sequential(create_encoder("small-convnet"), nn.Linear(96, 2))
    encoder = Encoder(
        backbone, image_size=16, mean=[0.5] * 3, std=[0.5] * 3, normalize=False
    )
    report = export_onnx(encoder, tmp_path / "a.onnx", precision="fp16")
    assert report.passed and np.isnan(report.max_norm_error)
    assert report.max_abs > 0


@pytest.fixture
def report():
    """A report of an int8 file that keeps every bound."""
    return Report(
        failures=(),
        compared_with="its encoder",
        precision="int8",
        provider="cpu",
        max_abs=0.01,
        max_one_minus_cosine=1e-3,
        mean_one_minus_cosine=1e-4,
        max_norm_error=1e-7,
        neighbors_kept=0.95,
        knn=(0.9, 0.898),
        finite=True,
        batches=(1, 2, 7, 33),
        images=43,
        sha256="0" * 64,
        file_bytes=2500,
        parameter_bytes=10_000,
    )


def test_the_figures_and_their_bounds_are_printed(report):
    assert str(report.judged()).splitlines() == [
        "parity passed on 43 images, batches 1, 2, 7, 33",
        "int8 on cpu, against its encoder",
        "  max |difference|     1.0e-02",
        "  max 1 - cosine       1.0e-03    <= 2e-03",
        "  mean 1 - cosine      1.0e-04    <= 5e-04",
        "  max |norm - 1|       1.0e-07    <= 1e-06",
        "  10 neighbours kept   0.950      >= 0.94",
        "  10-NN accuracy lost  0.0020, 0.9000 to 0.8980 <= 0.005",
        "  finite embeddings    yes",
        "  file                 2,500 bytes, 0.250 of the parameters",
        "  speed                not measured",
        "  time                 0.0 s",
    ]


def test_what_an_int8_file_keeps_in_float32_and_what_was_tried_is_printed(report):
    tried = (
        Attempt("min-max", 0, 0.0, 3e-3, 4e-4, 0.93, 1.5),
        Attempt("entropy", 12, 0.2554, 1e-3, 1e-4, 0.953, 0.5),
    )
    of_int8 = {"float_layers": ("stem", "head"), "float_share": 0.25, "layers": 21}
    printed = dataclasses.replace(report, tried=tried, notes=("slower",), **of_int8)
    assert str(printed).splitlines()[11:] == [
        "  in float32           2 of 21 layers, 25.0% of the multiply-adds",
        "    stem",
        "    head",
        "  slower",
        "  tried, with the largest and the mean 1 - cosine:",
        "    ranges   in float32  multiply-adds      max     mean   kept  of the gate",
        "    min-max           0           0.0%  3.0e-03  4.0e-04  0.930         1.50",
        "    entropy          12          25.5%  1.0e-03  1.0e-04  0.953         0.50",
        "  time                 0.0 s",
    ]


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        (
            {"max_one_minus_cosine": 3e-3},
            "Expected max 1 - cosine to be <= 2e-03 but got 3.0e-03",
        ),
        (
            {"mean_one_minus_cosine": 6e-4},
            "Expected mean 1 - cosine to be <= 5e-04 but got 6.0e-04",
        ),
        (
            {"max_norm_error": 2e-6},
            "Expected max |norm - 1| to be <= 1e-06 but got 2.0e-06",
        ),
        (
            {"neighbors_kept": 0.93},
            "Expected 10 neighbours kept to be >= 0.94 but got 0.930",
        ),
        (
            {"knn": (0.9, 0.89)},
            "Expected 10-NN accuracy lost to be <= 0.005 but got 0.0100, 0.9000 to "
            "0.8900",
        ),
        (
            {"finite": False, "max_abs": math.nan},
            "Expected finite embeddings but got NaN or infinity",
        ),
    ],
)
def test_each_bound_that_is_missed_is_one_failure(report, change, failure):
    judged = dataclasses.replace(report, **change).judged()
    assert not judged.passed and judged.failures == (failure,)
    assert f"  failed: {failure}" in str(judged)
    assert str(judged).startswith("parity FAILED")
    assert str(ParityError(judged)) == str(judged)


@pytest.mark.parametrize(
    ("change", "strain"),
    [
        ({}, 0.05 / 0.06),  # neighbours lost, of those that may be
        ({"max_one_minus_cosine": 3e-3}, 1.5),
        ({"mean_one_minus_cosine": 6e-4}, 1.2),
        ({"max_norm_error": 2e-6}, 2),
        ({"knn": (0.9, 0.88)}, 4),
        ({"finite": False}, math.inf),
        ({"images": 0}, math.inf),
    ],
)
def test_the_strain_is_the_largest_share_of_a_bound(report, change, strain):
    changed = dataclasses.replace(report, **change)
    assert changed.strain == pytest.approx(strain)
    assert "images" in change or changed.judged().passed == (strain <= 1)


def test_what_is_not_finite_is_printed(report):
    assert "\n  finite embeddings    no\n" in str(
        dataclasses.replace(report, finite=False)
    )


def test_what_was_not_measured_is_neither_printed_nor_a_failure(report):
    nan = (math.nan, math.nan)
    judged = dataclasses.replace(report, knn=nan, neighbors_kept=math.nan).judged()
    assert judged.passed
    assert not {"10 neighbours kept", "10-NN accuracy lost"} & {
        figure.name for figure in judged.figures
    }
    stored = json.loads(judged.to_json())
    assert stored["passed"] and stored["knn"] == [None, None]
    assert stored["max_abs"] == 0.01 and stored["speed"] is None


def test_64_images_after_the_first_are_timed(small_file, make_small, tmp_path):
    images = sample_images(65, 16, 3)
    assert verify(small_file, make_small(), images).speed > 0
    assert math.isnan(verify(small_file, make_small(), images[:64]).speed)
    half = {"precision": "fp16", "images": images[:64]}  # the second of its judge
    assert export_onnx(make_small(), tmp_path / "half.onnx", **half).speed > 0


def test_a_report_on_no_image_says_why_and_shows_no_figures():
    cause = "Expected a file for images (B, 28, 28, 1) but got (B, 32, 32, 3)"
    report = Report(
        failures=(cause,),
        compared_with="its encoder",
        precision="fp32",
        sha256="0" * 64,
        file_bytes=1,
        parameter_bytes=1,
    )
    assert str(report) == f"parity FAILED: no image was compared\n  failed: {cause}"
    assert report.figures == ()


def test_a_failure_comes_before_the_figures(report):
    failed = dataclasses.replace(report, max_norm_error=2e-6).judged()
    assert str(failed).splitlines()[1].startswith("  failed: Expected max |norm - 1|")
