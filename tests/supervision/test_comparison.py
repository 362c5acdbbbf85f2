"""Other copies of a sample are left out: naive loops that skip them say the same."""

import math

import pytest
import torch
from lightly.loss import NTXentLoss
from small_batch import Z0, Z1

from rkdo_plugin import IConLoss, RKDOLoss, create_loss
from rkdo_plugin.kernels import Gaussian

# Sample 3 is an anchor in row 1 and the partner of rows 0 and 4; 7 is there twice.
IDS0 = torch.tensor([0, 3, 7, 7, 5, 6])
IDS1 = torch.tensor([3, 3, 7, 2, 3, 6])
Z = torch.randn(8, 3, generator=torch.manual_seed(0))
PROTOTYPES = torch.randn(4, 3, generator=torch.manual_seed(2))


def embeddings():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 6, 4, dtype=torch.float64, generator=generator)


def rows_of(z0, z1, ids0, ids1, candidates):
    """Anchor (D,), its candidates (C, D) without copies, and the positive's place."""
    both = torch.cat([z0, z1]) if candidates == "all" else z1
    ids = torch.cat([ids0, ids1]) if candidates == "all" else ids1
    anchors = both if candidates == "all" else z0
    anchor_ids = ids if candidates == "all" else ids0
    found = []
    for i, anchor in enumerate(anchors):
        positive = (i + len(z0)) % len(both)
        samples = {int(anchor_ids[i]), int(ids[positive])}
        kept = [
            j
            for j in range(len(both))
            if j == positive
            or (int(ids[j]) not in samples and not (candidates == "all" and j == i))
        ]
        found.append((anchor, both[kept], kept.index(positive)))
    return found


def cosines(anchor, others):
    return torch.stack([anchor @ o / (anchor.norm() * o.norm()) for o in others])


def kl(p, log_q):
    return (torch.special.xlogy(p, p) - p * log_q).sum()


def naive_icon(rows, temperature, kernel, debias):
    values = []
    for anchor, others, positive in rows:
        if kernel == "cosine":
            logits = cosines(anchor, others) / temperature
        else:
            logits = -torch.log1p(((anchor - others) ** 2).sum(dim=1)) / temperature
        p = torch.full_like(logits, debias / len(others)).detach()
        p[positive] += 1 - debias
        values.append(kl(p, torch.log_softmax(logits, dim=0)))
    return torch.stack(values).mean()


def naive_rkdo(rows, temperature, coupling, depth, decay):
    total = 0
    for anchor, others, positive in rows:
        cosine = cosines(anchor, others)
        p = torch.zeros_like(cosine).detach()
        p[positive] = 1
        log_q = torch.log_softmax(cosine / temperature, dim=0)
        for t in range(1, depth + 1):
            p = (1 - coupling) * p + coupling * log_q.exp()
            tau = temperature * (1 - decay * t / depth)
            log_q = torch.log_softmax(cosine / tau, dim=0)
            total = total + kl(p, log_q)
    return total / len(rows)


def assert_same_value_and_gradient(criterion, naive):
    z = embeddings().requires_grad_()
    loss = criterion(*z, sample_ids=(IDS0, IDS1))
    (gradient,) = torch.autograd.grad(loss, z)
    expected = naive(z)
    (expected_gradient,) = torch.autograd.grad(expected, z)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    assert not torch.isclose(loss, criterion(*z))


@pytest.mark.parametrize("debias", [0, 0.3])
@pytest.mark.parametrize("kernel", ["cosine", "student_t"])
@pytest.mark.parametrize("candidates", ["all", "cross"])
def test_icon_leaves_copies_out(candidates, kernel, debias):
    criterion = IConLoss(0.2, kernel=kernel, debias=debias, candidates=candidates)
    assert_same_value_and_gradient(
        criterion,
        lambda z: naive_icon(rows_of(*z, IDS0, IDS1, candidates), 0.2, kernel, debias),
    )


@pytest.mark.parametrize("candidates", ["all", "cross"])
def test_the_limit_of_a_mean_leaves_copies_out(candidates):
    def naive(z):
        values = []
        for anchor, others, positive in rows_of(*z, IDS0, IDS1, candidates):
            squares = ((anchor - others) ** 2).sum(dim=1)
            values.append(squares[positive] - squares.mean())
        return torch.stack(values).mean()

    wide = IConLoss(1.0, kernel=Gaussian(math.inf), candidates=candidates)
    assert_same_value_and_gradient(wide, naive)


@pytest.mark.parametrize("coupling", [0.1, 1])
@pytest.mark.parametrize("candidates", ["all", "cross"])
def test_rkdo_leaves_copies_out(candidates, coupling):
    criterion = RKDOLoss(0.3, coupling=coupling, candidates=candidates)
    assert_same_value_and_gradient(
        criterion,
        lambda z: naive_rkdo(
            rows_of(*z, IDS0, IDS1, candidates), 0.3, coupling, depth=3, decay=0.1
        ),
    )


def test_symmetric_rkdo_leaves_copies_out_in_both_directions():
    assert_same_value_and_gradient(
        RKDOLoss(symmetric=True),
        lambda z: (
            (
                naive_rkdo(rows_of(z[0], z[1], IDS0, IDS1, "cross"), 0.5, 0.5, 3, 0.1)
                + naive_rkdo(rows_of(z[1], z[0], IDS1, IDS0, "cross"), 0.5, 0.5, 3, 0.1)
            )
            / 2
        ),
    )


def test_different_samples_leave_simclr_as_it_is():
    z0, z1 = embeddings()
    ids = torch.arange(6)
    expected = NTXentLoss(0.2)(z0, z1)
    torch.testing.assert_close(IConLoss(0.2)(z0, z1, sample_ids=(ids, ids)), expected)


@pytest.mark.parametrize("criterion", [IConLoss(), IConLoss(debias=0.5), RKDOLoss()])
def test_without_any_negative_there_is_nothing_to_learn(criterion):
    z = embeddings().requires_grad_()
    ids = torch.zeros(6, dtype=torch.int64)
    loss = criterion(*z, sample_ids=(ids, ids))
    loss.backward()
    assert loss == 0
    assert torch.equal(z.grad, torch.zeros_like(z))


def test_copies_are_no_negatives_but_the_anchor_stays_with_itself():
    """A sample twice in a batch, of which the anchor itself is a candidate."""
    ids = torch.tensor([0, 0, 1, 2])
    z0, z1 = Z0[:4].clone(), Z1[:4].clone()
    criterion = IConLoss(candidates="with_self")
    found = criterion(z0, z1, sample_ids=(ids, ids))
    z, samples = torch.cat([z0, z1]), torch.cat([ids, ids])
    rows = []
    for i in range(8):
        positive = (i + 4) % 8
        kept = [j for j in range(8) if j in (i, positive) or samples[j] != samples[i]]
        cosines = torch.cosine_similarity(z[i : i + 1], z[kept]) / 0.5
        rows.append(-torch.log_softmax(cosines, dim=0)[kept.index(positive)])
    torch.testing.assert_close(found, torch.stack(rows).mean())


def test_prototypes_are_asked_for():
    with pytest.raises(ValueError, match=r"prototypes \(C, D\).* got no prototypes"):
        create_loss("cross-entropy")(Z, targets=torch.zeros(8).long())
    with pytest.raises(ValueError, match="but got no features"):
        create_loss("harmonic")(Z[:0], PROTOTYPES, targets=torch.zeros(0).long())
