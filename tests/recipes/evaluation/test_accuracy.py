import numpy as np
import pytest
from oracles import knn_classifier

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.evaluation.accuracy import (
    evaluate,
    knn_accuracy,
    linear_accuracy,
)


def blobs(count, seed):
    """Overlapping classes, so that no classifier is perfect."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, count)
    centers = np.random.default_rng(0).normal(size=(4, 8))
    return centers[labels] + random.normal(size=(count, 8)), labels


def test_knn_is_scikit_learns_weighted_by_the_exponential_of_the_cosine():
    train, train_labels = blobs(500, seed=1)
    test, test_labels = blobs(2500, seed=2)  # more than one chunk of queries
    oracle = knn_classifier().fit(train, train_labels)
    expected = oracle.score(test, test_labels)
    assert 0.5 < expected < 0.95
    accuracy = knn_accuracy(train, train_labels, test, test_labels)
    # A query whose two best classes tie within float32 may fall either way.
    assert accuracy == pytest.approx(expected, abs=1 / 2500)


def test_knn_with_fewer_samples_than_neighbours():
    features = np.eye(3, dtype=np.float32)
    labels = np.array([0, 1, 2])
    assert knn_accuracy(features, labels, features, labels) == 1.0


def test_linear_probe_separates_what_a_line_separates():
    random = np.random.default_rng(0)
    features = random.normal(size=(400, 5)) * [1000, 1, 1, 1, 0.001]
    labels = (features[:, 4] > 0).astype(int)  # the smallest scale decides
    accuracy = linear_accuracy(
        features[:200], labels[:200], features[200:], labels[200:]
    )
    assert accuracy > 0.95


def test_evaluate_scores_the_embedding_of_train_and_test():
    data = load_data("digits", limit=300)
    scores = evaluate(
        lambda images: images.reshape(len(images), -1).astype(np.float32), data
    )
    (train, train_labels), (test, test_labels) = (
        as_arrays(part, 28) for part in (data.train, data.test)
    )
    oracle = knn_classifier().fit(train.reshape(300, -1), train_labels)
    expected = oracle.score(test.reshape(360, -1), test_labels)
    assert scores["knn"] == pytest.approx(expected, abs=1 / 360)
    assert scores["linear"] > 0.85
