import pytest
import torch
from oracles import consistency_weight
from runs import train

from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.evaluation.report import evaluation_report
from rkdo_plugin.recipes.evaluation.trained import load_trained
from rkdo_plugin.recipes.semi_supervised import ramp_up


def test_the_ramp_up():
    assert [ramp_up(t) for t in (0.25, 1.0)] == [1.0, 1.0]
    for step in range(10):
        assert ramp_up(step / 40) == pytest.approx(consistency_weight(step, 40))


def test_classifiers_are_reported(tmp_path, settings):
    options = {"recipe_options": {"labelled": 0.5}, "epochs": 4}
    run = train("mean-teacher", out=str(tmp_path), workers=0, **(settings | options))
    report = evaluation_report(load_trained(tmp_path), None, None, None)
    lines = report.splitlines()
    assert [line.split()[0] for line in lines] == ["teacher", "student", "features"]
    images, labels = as_arrays(run.data.test, 28)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    pixels = (pixels - run.data.mean[0]) / run.data.std[0]
    with torch.no_grad():
        said = run.recipe.eval()(pixels).argmax(dim=1).numpy()
    assert float(lines[1].split()[-1]) == pytest.approx(
        (said == labels).mean(), abs=1e-4
    )
