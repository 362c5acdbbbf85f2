import multiprocessing
import random

import numpy as np
import pytest
import torch
from numbered_samples import Numbers, views
from runs import assert_equal
from tiny_recipes import filled_field
from torch.utils.data import default_collate

from rkdo_plugin import FieldPairs
from rkdo_plugin.recipes.training.loader import StepLoader


class Draws:
    """Each item is its index and a draw of every generator that transforms use."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, torch.rand(()), np.random.random(), random.random()


def batches(loader, epochs):
    return [batch for _ in range(epochs) for batch in loader]


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


class CountedNumbers(Numbers):
    """Counts how often an item was loaded, in all processes."""

    def __init__(self, length):
        super().__init__(length)
        self.loads = multiprocessing.Value("i", 0)

    def __getitem__(self, index):
        with self.loads.get_lock():
            self.loads.value += 1
        return super().__getitem__(index)

    def count(self):
        """The number of loads since the last count."""
        loads, self.loads.value = self.loads.value, 0
        return loads


@pytest.mark.parametrize("workers", [0, 2])
def test_pairs_of_a_batch_are_those_that_are_loaded_one_by_one(workers):
    """And each of their samples is loaded once."""
    field = filled_field(12)
    data = CountedNumbers(12)
    pairs = FieldPairs(data, views(), field)
    loader = StepLoader(pairs, 6, seed=5, workers=workers, field=field)
    one_by_one = StepLoader(pairs, 6, seed=5, field=field)
    data.count()
    for _ in range(3):
        found = list(loader)
        shown = [{*i.tolist(), *j.tolist()} for *_, i, j in found]
        once = data.count()
        assert once == sum(map(len, shown))
        expected = [
            default_collate([one_by_one.dataset[key] for key in keys])
            for keys in one_by_one.batches
        ]
        assert_equal(found, expected)
        assert once < data.count()
        one_by_one.batches.step += len(found)


def test_pairs_that_the_loader_does_not_draw_depend_on_the_seed_only():
    field = filled_field(12)
    pairs = FieldPairs(Numbers(12), views(), field)
    whole = batches(StepLoader(pairs, 6, seed=5), epochs=2)
    resumed = StepLoader(pairs, 6, seed=5, workers=2)
    resumed.batches.step = 3
    assert_equal(whole[3:], list(resumed))
    assert any((i != j).any() for *_, i, j in whole)


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


@pytest.mark.parametrize("batch_size", [0, 257])
def test_batch_that_does_not_fit(batch_size):
    with pytest.raises(ValueError, match=f"from 1 to 256, .* but got {batch_size}"):
        StepLoader(range(256), batch_size, seed=0)
