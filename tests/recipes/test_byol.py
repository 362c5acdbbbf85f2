from recipe_steps import LABELS, VIEWS, Scaled, fit

from rkdo_plugin.plugins.create import create_recipe


def test_byol_calls_its_criterion_twice_with_targets_detached():
    criterion = Scaled()
    fit(create_recipe("byol", loss=criterion), [[VIEWS, LABELS]])
    assert len(criterion.calls) == 2
    for prediction, target in criterion.calls:
        assert prediction.requires_grad
        assert not target.requires_grad
