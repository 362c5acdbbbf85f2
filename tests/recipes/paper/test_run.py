import numpy as np
import pytest
import torch

from rkdo_plugin.recipes.evaluation.measures import NEIGHBORS
from rkdo_plugin.recipes.paper.protocol import criterion_of
from rkdo_plugin.recipes.paper.run import (
    PaperRun,
    feature_scores,
    run_seed,
)

SCORES = {"kNN", "linear", "NMI", "ARI", "neighbours"}
HELD_OUT = {"held-out InfoNCE", "held-out I-Con", "held-out RKDO"}


@pytest.fixture(scope="module")
def runs(images, protocol):
    names = ("untrained", "rkdo", "icon")
    return {name: dict(run_seed(name, 0, images, protocol)) for name in names}


def test_every_length_is_scored(runs):
    assert list(runs["rkdo"]) == list(runs["icon"]) == [1, 2]
    assert list(runs["untrained"]) == [0]
    for scores in (runs["rkdo"][2], runs["icon"][1]):
        assert scores.keys() == SCORES | HELD_OUT | {"loss"}
    assert runs["untrained"][0].keys() == SCORES | HELD_OUT


def test_a_run_repeats_itself(runs, images, protocol):
    assert dict(run_seed("rkdo", 0, images, protocol)) == runs["rkdo"]


def test_a_longer_run_passes_through_the_shorter_one(runs, images, protocol):
    trained = PaperRun(images, protocol, 0)
    first = trained.train_epoch(criterion_of("icon"), 0)
    assert {"loss": first, **trained.scores()} == runs["icon"][1]


def test_two_losses_see_the_same_steps(images, protocol, monkeypatch):
    seen = []
    monkeypatch.setattr(
        PaperRun, "step", lambda self, criterion, batch: seen.append(batch) or 0.0
    )
    for name in ("rkdo", "icon"):
        trained = PaperRun(images, protocol, 7)
        seen.append(next(trained.network.parameters()).detach())
        trained.train_epoch(criterion_of(name), 0)
    weights, *batches = seen[:3]
    assert torch.equal(weights, seen[3])
    assert all(map(torch.equal, batches, seen[4:]))
    other = PaperRun(images, protocol, 8)
    assert not torch.equal(weights, next(other.network.parameters()))


def test_held_out_losses_are_those_of_the_same_views(images, protocol):
    trained = PaperRun(images, protocol, 0)
    before = torch.get_rng_state()
    first = trained.held_out()
    torch.manual_seed(5)
    assert trained.held_out() == first
    torch.set_rng_state(before)


def test_features_that_are_the_classes_score_best(images):
    labels = {
        image.tobytes(): label
        for part in (images.seen, images.test)
        for image, label in zip(*part, strict=True)
    }
    scores = feature_scores(
        images, lambda pixels: np.eye(10)[[labels[p.tobytes()] for p in pixels]]
    )
    assert scores["kNN"] == scores["linear"] == 1
    assert scores["NMI"] == pytest.approx(1)
    # Six images of each class have but five others.
    assert scores["neighbours"] == pytest.approx(5 / NEIGHBORS)
