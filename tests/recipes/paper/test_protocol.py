import math

import numpy as np
import pytest
import torch

from rkdo_plugin.recipes.paper.protocol import (
    ICON,
    PUBLISHED_LOSS,
    RKDO,
    Protocol,
    criterion_of,
)


def logits(z0, z1, temperature):
    return torch.nn.functional.cosine_similarity(z0[:, None], z1, dim=2) / temperature


def kl(p, q):
    return (p * (p.log() - q.log())).sum(dim=1).mean()


@pytest.fixture
def views():
    torch.manual_seed(0)
    return torch.randn(2, 64, 64, dtype=torch.float64).unbind()


def test_icon_is_the_published_one(views):
    q = logits(*views, 0.5).softmax(dim=1)
    p = 0.8 * torch.eye(64, dtype=torch.float64) + 0.2 / 64
    assert float(criterion_of(ICON)(*views)) == pytest.approx(float(kl(p, q)))


def test_rkdo_is_the_published_one(views):
    p = torch.eye(64, dtype=torch.float64)
    q = logits(*views, 0.5).softmax(dim=1)
    total = 0.0
    for t in (1, 2, 3):
        p = 0.5 * p + 0.5 * q
        q = logits(*views, 0.5 * (1 - 0.1 * t / 3)).softmax(dim=1)
        total += float(kl(p, q))
    assert float(criterion_of(RKDO)(*views)) == pytest.approx(total)


def test_where_nothing_is_learned_rkdos_loss_is_a_quarter_lower():
    """The objectives differ: with equal embeddings q is uniform over 64 candidates."""
    same = torch.ones(64, 8)
    rkdo, icon = (float(criterion_of(name)(same, same)) for name in (RKDO, ICON))
    # p_t has 2^-t of its mass on the other view, beside the uniform part of all.
    expected = 0.0
    for t in (1, 2, 3):
        mass = np.full(64, (1 - 2.0**-t) / 64)
        mass[0] += 2.0**-t
        expected += float((mass * np.log(64 * mass)).sum())
    p = np.full(64, 0.2 / 64)
    p[0] += 0.8
    assert rkdo == pytest.approx(expected, rel=1e-5)
    assert icon == pytest.approx(float((p * np.log(64 * p)).sum()), rel=1e-5)
    assert 1 - rkdo / icon == pytest.approx(0.25, abs=0.01)


def test_the_published_reductions_follow_from_the_published_losses():
    cuts = {
        name: [
            100 * (1 - rkdo / icon)
            for rkdo, icon in zip(losses[RKDO], losses[ICON], strict=True)
        ]
        for name, losses in PUBLISHED_LOSS.items()
    }
    assert cuts["cifar10"] == pytest.approx([27.6, 28.9, 30.9, 30.0], abs=0.06)
    assert cuts["cifar100"] == pytest.approx([26.9, 28.9, 29.9, 31.2], abs=0.06)
    assert cuts["stl10"] == pytest.approx([31.0, 32.4, 34.4, 33.0], abs=0.06)


def test_a_run_has_110_steps():
    protocol = Protocol()
    assert protocol.batches * max(protocol.epochs) == 110
    assert len(protocol.seeds) == 5
    assert math.isclose(protocol.learning_rate, 1e-3)
