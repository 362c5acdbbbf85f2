from dataclasses import replace

import numpy as np
import pytest

from rkdo_plugin.recipes.comparison.scoring import KNN, RANK, measure_of, score
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.evaluation.accuracy import knn_accuracy, raw_pixels
from rkdo_plugin.recipes.evaluation.measures import rank_me


def test_with_labels_it_is_the_accuracy_on_the_test_images():
    data = load_data("digits", limit=200)
    assert measure_of(data) == KNN
    train, labels = as_arrays(data.train, 28)
    test, test_labels = as_arrays(data.test, 28)
    expected = knn_accuracy(raw_pixels(train), labels, raw_pixels(test), test_labels)
    assert 0.5 < score(raw_pixels, data) == expected


def test_without_labels_it_is_the_rank_of_the_test_features():
    data = replace(load_data("digits", limit=50), num_classes=0)
    assert measure_of(data) == RANK
    pixels = raw_pixels(np.stack([np.array(image) for image, _ in data.test]))
    assert score(raw_pixels, data) == pytest.approx(rank_me(pixels))
