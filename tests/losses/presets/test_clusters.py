"""The least loss over free assignments is the partition of scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.datasets import make_blobs, make_moons
from sklearn.metrics import adjusted_rand_score

from rkdo_plugin import create_loss

BLOBS, _ = make_blobs(90, centers=[[0, 0], [6, 0], [0, 6]], random_state=0)
MOONS, _ = make_moons(120, noise=0.04, random_state=0)
X = torch.randn(8, 5, generator=torch.manual_seed(1))


def k_means(x):
    return KMeans(3, n_init=10, random_state=0).fit_predict(x)


def spectral(x, clusters):
    return SpectralClustering(
        clusters, affinity="nearest_neighbors", n_neighbors=8, random_state=0
    ).fit_predict(x)


def normalized_cuts(x):
    return SpectralClustering(3, gamma=0.5, random_state=0).fit_predict(x)


def partition(criterion, x, clusters, hidden=None, seeds=1, steps=120):
    """Of the least of several minima."""
    found = {}
    points = torch.from_numpy(x)
    for seed in range(seeds):
        torch.manual_seed(seed)
        if hidden is None:
            start = torch.randn(len(x), clusters, dtype=torch.float64) * 0.1
            head, rate = torch.nn.ParameterList([start]), 0.3
        else:
            head, rate = (
                torch.nn.Sequential(
                    torch.nn.Linear(2, hidden),
                    torch.nn.ReLU(),
                    torch.nn.Linear(hidden, clusters),
                ),
                0.03,
            )
            head.double()
        optimizer = torch.optim.Adam(head.parameters(), rate)
        for _ in range(steps):
            logits = head[0] if hidden is None else head(points)
            loss = criterion(logits, targets=points)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found[loss.item()] = logits.argmax(dim=1).numpy()
    return found[min(found)]


@pytest.mark.parametrize(
    ("name", "options", "x", "expected", "how"),
    [
        ("k-means", {"bandwidth": 1.5}, BLOBS, k_means(BLOBS), {}),
        ("normalized-cuts", {}, BLOBS, normalized_cuts(BLOBS), {}),
        (
            "infonce-clustering",
            {"k": 8, "debias": 0.1},
            BLOBS,
            k_means(BLOBS),
            {"hidden": 32},
        ),
        (
            "spectral",
            {"components": 2, "neighbors": 8},
            MOONS,
            spectral(MOONS, 2),
            {"seeds": 2, "steps": 80},
        ),
    ],
)
def test_the_partition_is_that_of_scikit_learn(name, options, x, expected, how):
    found = partition(create_loss(name, **options), x, len(np.unique(expected)), **how)
    assert adjusted_rand_score(expected, found) == 1


def test_moons_are_none_that_k_means_finds():
    halves = KMeans(2, n_init=10, random_state=0).fit_predict(MOONS)
    assert adjusted_rand_score(spectral(MOONS, 2), halves) < 0.5


@pytest.mark.parametrize("name", ["k-means", "normalized-cuts", "infonce-clustering"])
def test_clusters_that_collapse_to_one_stay_finite(name):
    collapsed = torch.tensor([[200.0, 0.0, 0.0]]).repeat(8, 1).requires_grad_()
    loss = create_loss(name)(collapsed, targets=X)
    loss.backward()
    assert loss.isfinite()
    assert collapsed.grad.isfinite().all()
