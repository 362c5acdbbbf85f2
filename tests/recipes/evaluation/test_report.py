"""What `rkdo evaluate` says of recipes that report on themselves."""

import pytest
import torch
from checkpoints import saved
from published_weights import lively
from runs import train

from rkdo_plugin import create_encoder
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
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
