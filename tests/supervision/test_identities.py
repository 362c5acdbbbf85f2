"""Who is whose: pairs, labels, classes, and rows that are given."""

import math

import pytest
import torch
from small_batch import GENERATOR, Z0, Z1, B, D, X, matrix

from rkdo_plugin import IConLoss, create_loss
from rkdo_plugin.kernels import Gaussian
from rkdo_plugin.supervision import Classes, Given, Neighbors

ROWS = 8
Z = torch.randn(ROWS, 3, generator=torch.manual_seed(0))
PROTOTYPES = torch.randn(4, 3, generator=torch.manual_seed(2))
SPREAD = (1 - torch.eye(ROWS)) / (ROWS - 1)


@pytest.mark.parametrize("layout", ["dense", "coo", "csr"])
def test_given_rows_are_p(layout):
    p = matrix(Neighbors(2), X)
    given = {"dense": p, "coo": p.to_sparse(), "csr": p.to_sparse_csr()}[layout]
    torch.testing.assert_close(matrix(Given(), given), p)
    expected = IConLoss(supervision=Neighbors(2), divergence="js")(Z0, targets=X)
    found = IConLoss(supervision="given", divergence="js")(Z0, targets=given)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_given_rows_may_sum_to_one_as_nearly_as_their_dtype_can(dtype):
    p = torch.rand(7, 7, generator=torch.manual_seed(0))
    p = torch.softmax(p.fill_diagonal_(-torch.inf), dim=1).to(dtype)
    exact = p.double() / p.double().sum(dim=1, keepdim=True)
    torch.testing.assert_close(matrix(Given(), p), exact)


def test_any_number_of_views_are_pairs():
    """Three views: each attracts the mean of the other two."""
    views = torch.randn(12, D, dtype=torch.float64, generator=GENERATOR)
    samples = torch.arange(4).repeat(3)
    rows = []
    for i in range(12):
        others = [j for j in range(12) if j != i]
        cosines = torch.cosine_similarity(views[i : i + 1], views[others]) / 0.5
        log_q = dict(zip(others, torch.log_softmax(cosines, dim=0), strict=True))
        positives = [j for j in others if samples[j] == samples[i]]
        rows.append(-math.log(2) - sum(log_q[j] for j in positives) / 2)
    found = IConLoss(0.5)(views, targets=samples)
    torch.testing.assert_close(found, torch.stack(rows).mean())


def test_two_views_are_any_number():
    both, samples = torch.cat([Z0, Z1]), torch.arange(B).repeat(2)
    torch.testing.assert_close(IConLoss()(both, targets=samples), IConLoss()(Z0, Z1))


def test_targets_that_nobody_reads_are_refused():
    with pytest.raises(TypeError, match="Expected no `targets` with two views"):
        IConLoss()(Z, Z, torch.arange(ROWS))


def test_classes_of_no_row_give_no_loss_and_no_gradient():
    z = Z.clone().requires_grad_()
    loss = create_loss("mlm")(z, PROTOTYPES, targets=torch.full((ROWS,), -100))
    loss.backward()
    assert loss.item() == 0
    assert z.grad.eq(0).all()


def test_classes_of_no_row_are_left_out_of_the_limit_of_a_mean():
    targets = torch.tensor([0, 1, -100, 2, 3, -100, 0, 1])
    kept = targets >= 0
    squares = torch.cdist(Z, PROTOTYPES)[kept].square()
    own = squares.gather(1, targets[kept, None])[:, 0]
    criterion = IConLoss(1.0, Classes(), Gaussian(math.inf))
    found = criterion(Z, PROTOTYPES, targets)
    torch.testing.assert_close(found, (own - squares.mean(dim=1)).mean())


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (SPREAD[:, :5], r"p \(8, 8\) but got shape \(8, 5\)"),
        (SPREAD * 2, "sum to 1 but row 0 sums to 2"),
        (SPREAD.index_fill(0, torch.tensor([3]), 0), "row 3 sums to 0"),
        (SPREAD - 0.5 * torch.eye(ROWS).roll(1, 0), "no negative number but got -0.35"),
        (torch.eye(ROWS), "anchor itself nothing.*row 0 does.*'with_self'"),
    ],
)
@pytest.mark.parametrize("layout", ["strided", "coo", "csr"])
def test_rows_that_are_no_distributions_are_refused(p, message, layout):
    given = {"strided": p, "coo": p.to_sparse(), "csr": p.to_sparse_csr()}[layout]
    with pytest.raises(ValueError, match=message):
        IConLoss(supervision="given")(Z, targets=given)


def test_labels_that_occur_once_count_nothing():
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 3, 4])
    z = Z.double().requires_grad_()
    loss = create_loss("supcon")(z, targets=labels)
    # The rows of other labels stay candidates, and are none of the mean.
    criterion = create_loss("supcon", temperature=0.1)
    rows = []
    for i in range(5):
        others = [j for j in range(ROWS) if j != i]
        same = torch.tensor([float(labels[j] == labels[i]) for j in others])
        cosines = torch.nn.functional.cosine_similarity(z[i : i + 1], z[others])
        log_q = torch.log_softmax(cosines / criterion.temperature, dim=0)
        p = (same / same.sum()).double()
        rows.append((torch.xlogy(p, p) - p * log_q).sum())
    torch.testing.assert_close(loss, torch.stack(rows).mean())
    alone = create_loss("supcon")(z, targets=torch.arange(ROWS))
    assert alone.item() == 0
    assert torch.autograd.grad(alone, z)[0].eq(0).all()
