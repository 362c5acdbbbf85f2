from dataclasses import replace

import held
import held_run
import numpy as np
import pytest
import torch
from runs import train

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.evaluation.accuracy import evaluate
from rkdo_plugin.recipes.field.features import features_by_name
from rkdo_plugin.recipes.training.settings import RunSettings

OPTIONS = {"epochs": 2, "limit": 150, "batch_size": 64, "seed": 1, "augment": "batches"}


def weights(recipe):
    return torch.cat([w.flatten() for w in recipe.state_dict().values()])


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("simclr", {"loss": "icon", "field": "hog", "encoder": "wide-convnet"}),
        ("simclr", {"loss_options": {"temperature": 0.2}}),
        ("byol", {"field": "one-hot", "field_options": {"field_weight": 1.0}}),
    ],
)
def test_a_run_is_that_of_the_command(monkeypatch, tmp_path, recipe, options):
    options = OPTIONS | options
    expected = train(recipe, out=tmp_path / "run", workers=0, **options)
    monkeypatch.setattr(held_run, "LAYOUT", torch.contiguous_format)
    arm = held_run.fit_arm(RunSettings(recipe=recipe, **options))
    assert torch.equal(weights(arm.recipe), weights(expected.recipe))
    assert (arm.callback is None) == ("field" not in options)
    assert arm.clock.steps == expected.steps == 4
    scores = arm.scores()
    found = evaluate(expected.recipe.frozen(expected.data).embed, expected.data)
    assert {name: scores[name] for name in found} == found
    assert scores["device"] == "CPU"
    assert scores["rate"] == 64 / scores["step"]


def test_the_layout_changes_no_more_than_rounding_does(monkeypatch):
    settings = RunSettings(**OPTIONS)
    last = held_run.fit_arm(settings)
    monkeypatch.setattr(held_run, "LAYOUT", torch.contiguous_format)
    first = held_run.fit_arm(settings)
    other = held_run.fit_arm(replace(settings, seed=2))
    kernel = last.recipe.backbone.layers[1][0].weight
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert not kernel.is_contiguous()
    ours, expected, far = (weights(arm.recipe) for arm in (last, first, other))
    assert (ours - expected).norm() < 1e-2 * (far - expected).norm()


def test_features_start_the_field_as_their_name_does():
    data = held.hold(load_data("digits", limit=150))
    settings = RunSettings(
        loss="icon",
        field="hog",
        field_options={"field_weight": 1.0},
        **OPTIONS | {"epochs": 1},
    )
    features = features_by_name("hog", data)
    by_name, given, other = (
        held_run.fit_arm(settings, data, features=each)
        for each in (None, features, np.roll(features, 1, axis=0))
    )
    assert torch.equal(weights(by_name.recipe), weights(given.recipe))
    assert not torch.equal(weights(by_name.recipe), weights(other.recipe))
    with pytest.raises(ValueError, match=r"no features with a field that .* one-hot"):
        held_run.fit_arm(replace(settings, field="one-hot"), data, features=features)


@pytest.mark.parametrize(
    ("settings", "device", "message"),
    [
        ({"batch_size": 151}, "cpu", "at most 150, .* but got 151"),
        ({"recipe": "mean-teacher"}, "cpu", "pairs of images, .* but got mean-teacher"),
        ({}, "cuda", "a CUDA device for 'cuda' but PyTorch finds none"),
    ],
)
def test_what_cannot_run_is_refused(monkeypatch, settings, device, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings = {"limit": 150, "batch_size": 64} | settings
    with pytest.raises(ValueError, match=message):
        held_run.run_arm(RunSettings(**settings), device=device)


def test_trust_is_told_where_there_is_a_field():
    arm = held_run.fit_arm(
        RunSettings(loss="icon", field="pixels", **OPTIONS | {"epochs": 1})
    )
    assert arm.scores()["trust"] == arm.callback.field.trust
