import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.training.batches import TwoViews
from rkdo_plugin.recipes.training.loader import StepLoader
from rkdo_plugin.recipes.views.transforms import two_views


class Draws:
    """Each item is its index and a draw of every generator that transforms use."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, torch.rand(()), np.random.random(), random.random()


def batches(loader, epochs):
    return [batch for _ in range(epochs) for batch in loader]


def assert_equal(one, other):
    assert len(one) == len(other)
    for batch, other_batch in zip(one, other, strict=True):
        for value, other_value in zip(batch, other_batch, strict=True):
            assert torch.equal(value, other_value)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_number_of_workers_changes_nothing(workers):
    one = batches(StepLoader(Draws(), 3, seed=5), epochs=2)
    other = batches(StepLoader(Draws(), 3, seed=5, workers=workers), epochs=2)
    assert_equal(one, other)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", range(7))
def test_continues_after_any_step(step, workers):
    whole = batches(StepLoader(Draws(), 3, seed=5), epochs=3)
    started = StepLoader(Draws(), 3, seed=5, workers=workers)
    iterator = iter(started)
    for _ in range(step):
        try:
            next(iterator)
        except StopIteration:
            iterator = iter(started)
            next(iterator)
    resumed = StepLoader(Draws(), 3, seed=5, workers=workers)
    resumed.load_state_dict(started.state_dict())
    rest = []
    while len(rest) < 9 - step:
        rest += list(resumed)
    assert_equal(whole[step:], rest)


def test_every_epoch_is_another_permutation():
    loader = StepLoader(Draws(), 5, seed=0)
    first, second = (torch.cat([batch[0] for batch in loader]) for _ in range(2))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert not torch.equal(first, second)


def test_draws_differ_between_samples_epochs_and_seeds():
    draws = torch.cat(
        [
            batch[1]
            for seed in (0, 1)
            for batch in batches(StepLoader(Draws(), 10, seed=seed), epochs=3)
        ]
    )
    assert len(draws.unique()) == 60


def test_the_step_itself_draws_the_same_with_any_workers():
    for workers in (0, 2):
        draws = [torch.rand(()) for _ in StepLoader(Draws(), 5, 0, workers)]
        if workers == 0:
            expected = draws
    assert draws == expected
    assert draws[0] != draws[1]


def test_two_views_are_augmented_apart_and_normalised():
    data = load_data("digits")
    loader = StepLoader(TwoViews(data.train, two_views(data)), 512, seed=0)
    (view0, view1), labels, _ = next(iter(loader))
    assert view0.shape == view1.shape == (512, 1, 28, 28)
    assert not torch.equal(view0, view1)
    # Crops keep the statistics about where they are; without the normalisation the
    # mean would be that of the pixels, 0.31.
    assert abs(view0.mean()) < 0.3
    assert 0.7 < view0.std() < 1.3
    assert labels.bincount().min() > 25


def test_colour_images_keep_three_channels():
    data = replace(
        load_data("digits"),
        channels=3,
        image_size=96,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )
    views = two_views(data)(Image.new("RGB", (120, 100), (200, 30, 90)))
    assert [view.shape for view in views] == [(3, 96, 96)] * 2
