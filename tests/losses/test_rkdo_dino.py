"""RKDO over prototypes: DINO with a target that follows."""

import numpy as np
import pytest
import torch
from lightly.loss import DINOLoss
from scipy.special import softmax

from rkdo_plugin import create_loss


def dino_views(seed=0):
    random = torch.Generator().manual_seed(seed)
    draw = torch.randn(6, 8, 20, dtype=torch.float64, generator=random)
    return list(draw[:2]), [view.requires_grad_() for view in draw[2:]]


def test_without_coupling_rkdo_over_prototypes_is_dino_less_the_entropy():
    teacher, student = dino_views()
    ours = create_loss(
        "rkdo-dino", output_dim=20, coupling=0.0, depth=1, temperature_decay=0.0
    ).double()
    dino = DINOLoss(20).double()
    for _ in range(2):  # the centre moves alike
        value, expected = ours(teacher, student), dino(teacher, student)
        p = torch.softmax(
            (torch.stack(teacher) - before_center(dino, teacher)) / 0.04, 2
        )
        entropies = -torch.xlogy(p, p).sum(dim=2).mean(dim=1)
        # Either teacher view meets three others.
        torch.testing.assert_close(value, expected - entropies.mean())
        grads = (torch.autograd.grad(loss, student) for loss in (value, expected))
        for one, other in zip(*grads, strict=True):
            torch.testing.assert_close(one, other)
    assert torch.equal(ours.center, dino.center)


def before_center(dino, teacher):
    """The centre as the loss that was just computed saw it."""
    batch = torch.stack(teacher).mean(dim=(0, 1), keepdim=True)
    return (dino.center - (1 - dino.center_momentum) * batch) / dino.center_momentum


def test_rkdo_over_prototypes_is_the_naive_recursion():
    teacher, student = dino_views(3)
    criterion = create_loss(
        "rkdo-dino", output_dim=20, coupling=0.3, depth=2, temperature_decay=0.2
    ).double()
    total, pairs = 0.0, 0
    for v, t in enumerate(teacher):
        for u, s in enumerate(student):
            if u == v:
                continue
            pairs += 1
            for row_t, row_s in zip(t.tolist(), s.tolist(), strict=True):
                p = softmax(np.array([row_t]) / 0.04)[0]
                q = softmax(np.array([row_s]) / 0.1)[0]
                for depth in (1, 2):
                    p = 0.7 * p + 0.3 * q
                    q = softmax(np.array([row_s]) / (0.1 * (1 - 0.2 * depth / 2)))[0]
                    total += (p * np.log(p / q)).sum() / len(t)
    loss = criterion(teacher, student)
    assert float(loss) == pytest.approx(total / pairs, abs=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"coupling": 1.5},
        {"depth": 0},
        {"temperature_decay": 1.0},
        {"student_temp": 0},
        {"teacher_temp": -1},
        {"warmup_teacher_temp": 0},
        {"center_momentum": 2},
    ],
)
def test_rkdo_over_prototypes_refuses(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        create_loss("rkdo-dino", **options)


def test_one_view_is_no_pair():
    teacher, student = dino_views()
    with pytest.raises(ValueError, match=r"two different views but got 1 .* and 1"):
        create_loss("rkdo-dino", output_dim=20)(teacher[:1], student[:1])


def test_probabilities_that_underflow_leave_the_gradient_finite():
    teacher, student = ([20 * z.detach() for z in views] for views in dino_views())
    grads = []
    for dtype in (torch.float64, torch.float32):
        criterion = create_loss("rkdo-dino", output_dim=20).to(dtype)
        logits = [z.to(dtype).requires_grad_() for z in student]
        loss = criterion([z.to(dtype) for z in teacher], logits)
        grads.append(torch.cat(torch.autograd.grad(loss, logits)).double())
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    teacher, student = ([z.detach().to(dtype) for z in views] for views in dino_views())
    criterion = create_loss("rkdo-dino", output_dim=20)
    expected = criterion([z.float() for z in teacher], [z.float() for z in student])
    with torch.autocast("cpu", dtype=dtype):
        found = create_loss("rkdo-dino", output_dim=20)(teacher, student)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("teacher", "student", "message"),
    [
        (torch.ones(1, 20), torch.ones(8, 20), r"\(1, 20\) .* but got \(8, 20\)"),
        (torch.ones(8, 1), torch.ones(8, 1), r"\(8, 20\) .* but got \(8, 1\)"),
        (torch.ones(8, 20), torch.ones(8, 20).long(), ".* but got .* torch.int64"),
    ],
)
def test_logits_that_would_be_broadcast_are_refused(teacher, student, message):
    with pytest.raises(ValueError, match=f"Expected logits.*{message}"):
        create_loss("rkdo-dino", output_dim=20)([teacher] * 2, [student] * 2)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_logit_that_is_not_finite_leaves_no_plausible_number(side, bad):
    views = [[z.detach() for z in part] for part in dino_views()]
    views[side][0][3, 2] = bad
    assert create_loss("rkdo-dino", output_dim=20)(*views).isnan()
