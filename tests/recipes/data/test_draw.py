"""A part of a data set comes from all of its classes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Subset

from rkdo_plugin.recipes.data.draw import draw, labels_of


class Held:
    """A data set that would fail if it were asked for an image."""

    def __init__(self, targets):
        self.targets = targets

    def __len__(self):
        return len(self.targets)


labels = st.lists(st.integers(-1, 4), min_size=1, max_size=60)


@given(labels, st.integers(1, 70), st.integers(0, 5))
def test_a_draw_is_balanced_as_far_as_the_classes_go(targets, count, seed):
    few = draw(Held(targets), count, seed)
    drawn = labels_of(few)
    assert len(drawn) == min(count, len(targets))
    counts = [(drawn == label).sum() for label in set(targets)]
    whole = [targets.count(label) for label in set(targets)]
    for got, there in zip(counts, whole, strict=True):
        # A class has fewer than the others only if all of it is drawn.
        assert got == there or got >= max(counts) - 1


@given(labels, st.integers(1, 60), st.integers(1, 60), st.integers(0, 5))
def test_a_larger_draw_contains_a_smaller_one(targets, one, other, seed):
    indices = [
        set(range(len(targets))) if isinstance(few, Held) else set(few.indices)
        for few in (draw(Held(targets), n, seed) for n in sorted((one, other)))
    ]
    assert indices[0] <= indices[1]


def test_a_draw_keeps_the_order_and_follows_its_seed():
    held = Held([-1] * 1000)
    few = draw(held, 50, seed=0)
    assert few.indices == sorted(set(few.indices)) and len(few.indices) == 50
    assert few.indices == draw(held, 50, seed=0).indices
    assert few.indices != draw(held, 50, seed=1).indices
    # Uniform: half of 50 lie in the upper half, give or take four deviations.
    assert abs(sum(i >= 500 for i in few.indices) - 25) < 15


def test_all_images_are_drawn_as_they_are():
    held = Held([0, 1])
    assert draw(held, 2, seed=0) is held


def test_labels_are_found_without_decoding_images():
    held = Held([3, 1, 2, 1])
    np.testing.assert_array_equal(labels_of(held), [3, 1, 2, 1])
    np.testing.assert_array_equal(labels_of(Subset(held, [2, 0])), [2, 3])
    pairs = [("picture", 4), ("picture", 2)]
    np.testing.assert_array_equal(labels_of(pairs), [4, 2])
