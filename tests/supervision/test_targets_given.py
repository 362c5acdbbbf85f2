"""What a supervision reads, and what it says of something else."""

import math

import pytest
import torch

from rkdo_plugin import IConLoss, create_loss
from rkdo_plugin.kernels import Gaussian, PowerLaw, StudentT
from rkdo_plugin.supervision import (
    GaussianAffinity,
    Neighbors,
    Perplexity,
    RandomWalk,
    Similarity,
)

B = 8
Z = torch.randn(B, 3, generator=torch.manual_seed(0))
X = torch.randn(B, 5, generator=torch.manual_seed(1))
PROTOTYPES = torch.randn(4, 3, generator=torch.manual_seed(2))
SPREAD = (1 - torch.eye(B)) / (B - 1)

READS = {
    "supcon": "labels (8,), integers",
    "lgsimclr": "features (8, F)",
    "x-sample": "metadata (8, F)",
    "sne": "features (8, F)",
    "t-sne": "features (8, F)",
    "k-means": "features (8, F)",
    "spectral": "features (8, F)",
    "normalized-cuts": "features (8, F)",
    "infonce-clustering": "features (8, F)",
    "cross-entropy": "classes (8,) or counts (8, 4)",
    "harmonic": "classes (8,) or counts (8, 4)",
    "mlm": "classes (8,) or counts (8, 4)",
}


@pytest.mark.parametrize("name", READS)
def test_a_loss_without_its_targets_says_what_it_reads(name):
    options = {"perplexity": 3.0} if name in ("sne", "t-sne") else {}
    classes = READS[name].startswith("classes")
    criterion = create_loss(name, **options)
    with pytest.raises(TypeError) as error:
        criterion(Z, PROTOTYPES if classes else None)
    assert f"Expected `targets` to be {READS[name]} but got none" in str(error.value)
    with pytest.raises(TypeError, match="but got list"):
        criterion(Z, PROTOTYPES if classes else None, targets=[0] * B)


def test_targets_that_nobody_reads_are_refused():
    with pytest.raises(TypeError, match="Expected no `targets` with two views"):
        IConLoss()(Z, Z, torch.arange(B))


@pytest.mark.parametrize(
    ("name", "targets", "error", "message"),
    [
        ("supcon", torch.arange(7), ValueError, r"labels \(8,\).* shape \(7,\)"),
        ("supcon", X, TypeError, r"labels \(8,\), integers, but got torch.float32"),
        ("supcon", torch.ones(B, 2).long(), ValueError, r"got shape \(8, 2\)"),
        ("lgsimclr", X[:5], ValueError, r"features \(8, F\).* got shape \(5, 5\)"),
        ("lgsimclr", X[0], ValueError, r"got shape \(5,\)"),
        ("x-sample", X.where(X < 1, math.nan), ValueError, "finite but got NaN"),
        ("k-means", X.where(X < 1, math.inf), ValueError, "finite but got NaN"),
    ],
)
def test_targets_of_the_wrong_kind_are_named(name, targets, error, message):
    with pytest.raises(error, match=message):
        create_loss(name)(Z, targets=targets)


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (torch.tensor([0, 1, 2, 3, 0, 1, 2, 4]), ValueError, r"\[0, 4\).* but got 4"),
        (torch.tensor([0, 1, 2, 3, 0, 1, 2, -1]), ValueError, "-100.* but got -1"),
        (torch.arange(7), ValueError, r"classes \(8,\).* got shape \(7,\)"),
        (torch.rand(B), TypeError, "integers, but got torch.float32"),
        (torch.rand(B, 5), ValueError, r"counts \(8, 4\) but got shape \(8, 5\)"),
        (-torch.rand(B, 4), ValueError, "hold no negative number but got -0"),
    ],
)
def test_classes_out_of_range_are_named(targets, error, message):
    with pytest.raises(error, match=message):
        create_loss("cross-entropy")(Z, PROTOTYPES, targets=targets)


def test_prototypes_are_asked_for():
    with pytest.raises(ValueError, match=r"prototypes \(C, D\).* got no prototypes"):
        create_loss("cross-entropy")(Z, targets=torch.zeros(B).long())
    with pytest.raises(ValueError, match="but got no features"):
        create_loss("harmonic")(Z[:0], PROTOTYPES, targets=torch.zeros(0).long())


def test_classes_of_no_row_give_no_loss_and_no_gradient():
    z = Z.clone().requires_grad_()
    loss = create_loss("mlm")(z, PROTOTYPES, targets=torch.full((B,), -100))
    loss.backward()
    assert loss.item() == 0
    assert z.grad.eq(0).all()


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (SPREAD[:, :5], r"p \(8, 8\) but got shape \(8, 5\)"),
        (SPREAD * 2, "sum to 1 but row 0 sums to 2"),
        (SPREAD.index_fill(0, torch.tensor([3]), 0), "row 3 sums to 0"),
        (SPREAD - 0.5 * torch.eye(B).roll(1, 0), "no negative number but got -0.35"),
        (torch.eye(B), "anchor itself nothing.*row 0 does.*'with_self'"),
    ],
)
@pytest.mark.parametrize("layout", ["strided", "coo", "csr"])
def test_rows_that_are_no_distributions_are_refused(p, message, layout):
    given = {"strided": p, "coo": p.to_sparse(), "csr": p.to_sparse_csr()}[layout]
    with pytest.raises(ValueError, match=message):
        IConLoss(supervision="given")(Z, targets=given)


@pytest.mark.parametrize("perplexity", [1.0, 7.0, 8.0, 30.0])
def test_a_perplexity_that_the_batch_does_not_allow_is_refused(perplexity):
    message = rf"above 1 and below the number of candidates, 7, but got {perplexity:g}"
    with pytest.raises(ValueError, match=message):
        create_loss("t-sne", perplexity=perplexity)(Z, targets=X)


def test_more_neighbours_than_candidates_are_refused():
    with pytest.raises(ValueError, match="at least `k` = 8 candidates but got 7"):
        IConLoss(supervision=Neighbors(8))(Z, targets=X)
    with pytest.raises(ValueError, match="more samples than `components` = 8"):
        create_loss("spectral")(Z, targets=X)


@pytest.mark.parametrize(
    "create",
    [
        lambda: Gaussian(-1),
        lambda: Gaussian(math.nan),
        lambda: StudentT(0),
        lambda: StudentT(math.inf),
        lambda: PowerLaw(0),
        lambda: GaussianAffinity(0),
        lambda: Perplexity(-3),
        lambda: Similarity(0),
        lambda: Neighbors(0),
        lambda: Neighbors(2.5),
        lambda: RandomWalk(Neighbors(), steps=0),
        lambda: create_loss("moco", memory_bank_size=(0, 8)),
    ],
)
def test_options_out_of_range_are_refused(create):
    with pytest.raises(
        ValueError, match=r"Expected `.*` to be a .*positive .* but got"
    ):
        create()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"symmetric": True}, "`symmetric` with candidates='cross' but got 'all'"),
        ({"joint": True, "divergence": "js"}, "divergence='kl' with `joint`"),
        ({"kernel": Gaussian(0), "divergence": "tv"}, "divergence='kl' with Gaussian"),
        ({"kernel": Gaussian(math.inf), "joint": True}, "no limit with `joint`"),
        (
            {"kernel": "student_t", "learnable_temperature": True},
            "kernel 'cosine', 'dot' or 'gaussian' with `learnable_temperature`",
        ),
        ({"memory_bank_size": (16, 3)}, "candidates='cross' with `memory_bank_size`"),
        (
            {"memory_bank_size": (16, 3), "candidates": "cross", "symmetric": True},
            "no `symmetric` with `memory_bank_size`",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        IConLoss(**options)


@pytest.mark.parametrize(
    ("criterion", "z1", "targets", "message"),
    [
        (IConLoss(supervision="itself"), None, None, "candidates='with_self'"),
        (IConLoss(candidates="cross"), None, torch.arange(B), "two views .* got one"),
        (IConLoss(joint=True), Z, None, "supervision 'gaussian' or 'perplexity'"),
        (
            IConLoss(candidates="cross", supervision=RandomWalk(Neighbors(2))),
            Z,
            X,
            "each other's candidates",
        ),
        (create_loss("moco", memory_bank_size=(9, 4)), Z, None, "queue's size 4 .* 3"),
    ],
)
def test_calls_that_do_not_fit_are_refused(criterion, z1, targets, message):
    with pytest.raises(ValueError, match=message):
        criterion(Z, z1, targets)


def test_labels_that_occur_once_count_nothing():
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 3, 4])
    z = Z.double().requires_grad_()
    loss = create_loss("supcon")(z, targets=labels)
    # The rows of other labels stay candidates, and are none of the mean.
    criterion = create_loss("supcon", temperature=0.1)
    rows = []
    for i in range(5):
        others = [j for j in range(B) if j != i]
        same = torch.tensor([float(labels[j] == labels[i]) for j in others])
        cosines = torch.nn.functional.cosine_similarity(z[i : i + 1], z[others])
        log_q = torch.log_softmax(cosines / criterion.temperature, dim=0)
        p = (same / same.sum()).double()
        rows.append((torch.xlogy(p, p) - p * log_q).sum())
    torch.testing.assert_close(loss, torch.stack(rows).mean())
    alone = create_loss("supcon")(z, targets=torch.arange(B))
    assert alone.item() == 0
    assert torch.autograd.grad(alone, z)[0].eq(0).all()


@pytest.mark.parametrize("name", ["k-means", "normalized-cuts", "infonce-clustering"])
def test_clusters_that_collapse_to_one_stay_finite(name):
    collapsed = torch.tensor([[200.0, 0.0, 0.0]]).repeat(B, 1).requires_grad_()
    loss = create_loss(name)(collapsed, targets=X)
    loss.backward()
    assert loss.isfinite()
    assert collapsed.grad.isfinite().all()
