"""What `rkdo evaluate` says of features, and of recipes that report on themselves."""

import re

import numpy as np
import pytest
import torch
from checkpoints import saved
from published_weights import lively
from runs import train

from rkdo_plugin import create_encoder
from rkdo_plugin.export import export_onnx, freeze
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.evaluation.accuracy import raw_pixels
from rkdo_plugin.recipes.evaluation.measures import (
    mean_average_precision,
    neighbourhood_accuracy,
    rank_me,
)
from rkdo_plugin.recipes.evaluation.report import evaluation_report
from rkdo_plugin.recipes.evaluation.trained import load_trained


def test_a_recipe_reads_the_images_of_its_report_as_those_it_was_trained_on(tmp_path):
    record = {"mean": [0.9], "std": [0.1]}  # far from those of the digits
    encoder = lively(create_encoder("small-convnet", in_channels=1))
    start = saved(tmp_path / "start.ckpt", {"backbone": encoder}, rkdo=record)
    run = train(
        "mean-teacher",
        out=tmp_path / "run",
        weights=str(start),
        recipe_options={"labelled": 0.5},
        epochs=2,
        limit=256,
        batch_size=64,
        workers=0,
    )
    assert (run.data.mean, run.data.std) == ((0.9,), (0.1,))
    start.unlink()
    lines = evaluation_report(load_trained(run.folder), None, None, None).splitlines()
    images, labels = as_arrays(load_data("digits").test, 28)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        said = run.recipe.eval()((pixels - 0.9) / 0.1).argmax(dim=1).numpy()
    assert lines[1].split()[0] == "student"
    assert float(lines[1].split()[-1]) == pytest.approx(
        (said == labels).mean(), abs=1e-4
    )


def test_labels_measure_retrieval_and_the_rest_goes_without(uninterrupted):
    trained = load_trained(uninterrupted["simclr"])
    lines = evaluation_report(trained, None, 300, None, pixels=True).splitlines()
    data = load_data("digits", limit=300)
    (train, labels), (test, test_labels) = (
        as_arrays(part, 28) for part in (data.train, data.test)
    )
    assert lines[0].startswith("digits: 300 training images, 360 test images")
    for line, embed in ((lines[3], trained.encoder.embed), (lines[4], raw_pixels)):
        searched = mean_average_precision(
            embed(test), test_labels, embed(train), labels
        )
        same = neighbourhood_accuracy(embed(test), test_labels)
        assert f"mAP {searched:.4f}   same class {same:.4f}" in line
    assert lines[6] == "without labels: 300 training images, 96 features"
    assert float(lines[7].split()[1]) == pytest.approx(
        rank_me(trained.encoder.embed(train)), abs=0.01
    )


def test_images_without_classes_have_the_measures_that_need_none(
    uninterrupted, tmp_path
):
    folder = tmp_path / "pictures"
    folder.mkdir()
    data = load_data("digits")
    for number in range(60):
        data.train[number][0].convert("RGB").save(folder / f"{number:02}.png")
    settings = {"epochs": 1, "batch_size": 32, "workers": 0}
    run = train(data=str(folder), out=tmp_path / "run", **settings).folder
    lines = evaluation_report(load_trained(run), None, None, None).splitlines()
    assert lines[0] == f"{folder}: 60 images without classes"
    assert [line.split()[0] for line in lines[2:6]] == [
        "RankMe",
        "alpha-ReQ",
        "uniformity",
        "alignment",
    ]
    assert re.search(
        r"alignment +[\d.]+  between two views of an image, of 60", lines[5]
    )
    export_onnx(freeze(run / "last.ckpt"), tmp_path / "encoder.onnx")
    model = load_trained(tmp_path / "encoder.onnx")
    exported = evaluation_report(model, str(folder), None, None).splitlines()
    assert exported[5] == (
        "  alignment   not measured: the file has no views; a run folder has"
    )
    for line, other in zip(lines[2:5], exported[2:5], strict=True):
        assert np.isclose(float(line.split()[1]), float(other.split()[1]), atol=2e-2)
    with pytest.raises(ValueError, match=r"no --pixels: .* has no classes"):
        evaluation_report(model, str(folder), None, None, pixels=True)
