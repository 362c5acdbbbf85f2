"""What is wrong with a backbone or its preprocessing is refused at once."""

import pytest
import torch
from torch import nn

from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value):
    backbone = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        backbone.weight[1] = value
    with pytest.raises(ValueError, match=r"finite weights .* in 1: weight"):
        Encoder(backbone, image_size=4, mean=[0.5], std=[0.5])


@pytest.mark.parametrize(
    "options", [{"image_size": (4,)}, {"image_size": "4"}, {"mean": 0.5, "std": 0.5}]
)
def test_preprocessing_of_another_type_is_refused(options):
    given = {"image_size": 4, "mean": [0.5], "std": [0.5]} | options
    with pytest.raises(TypeError, match=r"Expected `(image_size|mean)`"):
        Encoder(nn.Flatten(), **given)


def test_norms_over_the_batch_are_refused():
    backbone = nn.Sequential(
        nn.Flatten(), nn.BatchNorm1d(16, track_running_stats=False)
    )
    with pytest.raises(ValueError, match=r"batch norms with .* got 1 without: 1"):
        Encoder(backbone, image_size=4, mean=[0.5], std=[0.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, "`image_size` to be at least 1 but got 0"),
        ({"mean": [120.0]}, r"within \[0, 1\].*120"),
        ({"std": [0.0]}, r"within \(0, 1\].*0.0"),
        ({"std": [float("nan")]}, "nan"),
        ({"std": [0.5, 0.5]}, "one number for each channel"),
        ({"mean": [], "std": []}, "one number for each channel"),
    ],
)
def test_preprocessing_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Encoder(
            nn.Flatten(), **{"image_size": 4, "mean": [0.5], "std": [0.5], **options}
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_never_reach_a_file(value):
    backbone = create_encoder("small-convnet")
    with torch.no_grad():
        backbone.layers[1][0].weight[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"finite weights but .* layers\.1\.0\.weight"):
        Encoder(backbone, image_size=16, mean=[0.5] * 3, std=[0.5] * 3)
