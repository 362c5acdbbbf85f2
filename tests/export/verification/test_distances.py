"""Distances and neighbours against plain loops."""

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances

from rkdo_plugin.export.verification.distances import distances, neighbor_agreement


def embeddings(seed, count=60, noise=0.0):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(count, 8))
    values += noise * np.random.default_rng(99).normal(size=values.shape)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_distances_are_those_of_a_loop():
    reference, exported = embeddings(0), embeddings(0, noise=0.1)
    found = distances(reference, exported)
    for row, (a, b) in enumerate(zip(reference, exported, strict=True)):
        cosine = sum(x * y for x, y in zip(a, b, strict=True))
        assert found.one_minus_cosine[row] == pytest.approx(1 - cosine, abs=1e-12)
    assert found.max_abs == max(abs(reference - exported).ravel())
    assert found.finite and found.max_norm_error < 1e-12


def test_a_zero_embedding_is_orthogonal_to_everything():
    reference, exported = embeddings(0), embeddings(0)
    exported[3] = 0
    assert distances(reference, exported).one_minus_cosine[3] == 1


def test_neighbors_are_those_of_a_loop():
    reference, exported = embeddings(0), embeddings(0, noise=0.3)
    labels = np.arange(60) % 3
    kept, hits = [], [0, 0]
    sides = [
        pairwise_distances(side, metric="cosine") for side in (reference, exported)
    ]
    for row in range(60):
        nearest = []
        for side, apart in enumerate(sides):
            order = [other for other in np.argsort(apart[row]) if other != row][:10]
            nearest.append(set(order))
            votes = np.bincount(labels[order], minlength=3)
            hits[side] += votes.argmax() == labels[row]
        kept.append(len(nearest[0] & nearest[1]) / 10)
    found = neighbor_agreement(reference, exported, labels)
    assert found.kept == pytest.approx(np.mean(kept), abs=1e-12) and found.kept < 0.9
    assert found.knn == pytest.approx([hit / 60 for hit in hits])


def test_few_images_have_no_neighbor_agreement():
    assert np.isnan(neighbor_agreement(embeddings(0, 19), embeddings(0, 19), None).kept)
    assert neighbor_agreement(embeddings(0, 20), embeddings(0, 20), None).kept == 1
