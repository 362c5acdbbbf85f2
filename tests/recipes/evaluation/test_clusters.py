import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkdo_plugin.recipes.evaluation.clusters import agreement


@given(
    pairs=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=30
    )
)
def test_accuracy_is_that_of_the_best_of_all_maps(pairs):
    labels, clusters = np.array(pairs).T
    best = max(
        sum(mapped[cluster] == label for label, cluster in pairs)
        for mapped in itertools.permutations([*range(5)])
    )
    assert agreement(labels, clusters)["accuracy"] == pytest.approx(best / len(pairs))
