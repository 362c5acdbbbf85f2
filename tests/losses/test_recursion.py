"""RKDO over every row of I-Con's table."""

import functools

import pytest
import torch
from table_rows import CALLS, PRESETS, call, create

from rkdo_plugin import RecursiveLoss, create_loss, rowwise


def value_and_gradients(criterion, name):
    leaves = [z.clone().requires_grad_() for z in CALLS[name].views]
    loss = call(criterion, name, *leaves)
    return loss.detach(), torch.autograd.grad(loss, leaves)


def test_every_row_is_called():
    assert sorted(CALLS) == sorted(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_no_coupling_is_the_row_itself(name):
    over = RecursiveLoss(create(name), coupling=0, depth=1, temperature_decay=0)
    torch.testing.assert_close(
        value_and_gradients(over, name),
        value_and_gradients(create(name), name),
        rtol=1e-9,
        atol=1e-11,
    )


# Triplet's hardest negative is a kink.
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "triplet"])
def test_the_gradient_goes_through_p(name):
    """Against differences of the value, at the published settings."""
    leaves = [z.clone().requires_grad_() for z in CALLS[name].views]
    criterion = RecursiveLoss(create(name))
    assert torch.autograd.gradcheck(functools.partial(call, criterion, name), leaves)


def dense(row, name, coupling, depth, decay, detach):
    """The recursion by autograd on whole matrices."""
    leaves = [z.clone().requires_grad_() for z in CALLS[name].views]
    z1 = leaves[1] if len(leaves) > 1 else CALLS[name].other
    target, learned = row.p_and_q(leaves[0], z1, CALLS[name].targets, None)
    tau0 = learned.temperature
    everything = slice(0, len(learned.comparison.anchors))
    products = learned.factors[0] @ learned.factors[1].T
    p = target.rows(everything)
    if row.joint:
        torch.testing.assert_close(p, p.T)
        p = p / len(p)
    limit = learned.kernel.normalizer
    weight = target.weight
    log_w = 0
    if target.candidate_weight is not None:
        log_w = target.candidate_weight.log()
    allowed = learned.comparison.allowed(everything) > 0
    log_s = similarity(learned.kernel, products)

    def log_q(tau):
        logits = (log_s / tau + log_w).masked_fill(~allowed, -1e12)
        if row.joint:
            return logits - logits.flatten().logsumexp(dim=0)
        if limit == "mean":
            of_allowed = logits.where(allowed, 0).sum(dim=1, keepdim=True)
            return logits - of_allowed / allowed.sum(dim=1, keepdim=True)
        if limit == "max":
            return logits - logits.amax(dim=1, keepdim=True)
        return logits.log_softmax(dim=1)

    def weights(log_q):
        if limit == "mean":
            return allowed / allowed.sum(dim=1, keepdim=True)
        if limit == "max":
            return torch.nn.functional.one_hot(log_q.argmax(dim=1), log_q.shape[1])
        return log_q.exp()

    q = weights(log_q(tau0))
    value = 0
    for t in range(1, depth + 1):
        p = (1 - coupling) * p + coupling * q
        p = p.detach() if detach else p
        following = log_q(tau0 * (1 - decay * t / depth))
        terms = -p * following
        if limit == "softmax":
            terms = terms + p * p.clamp_min(1e-300).log()
        rows = terms.sum(dim=1)
        if row.joint:
            value = value + rows.sum()
        else:
            value = value + (rows if weight is None else rows * weight).mean()
        q = weights(following)
    return value.detach(), torch.autograd.grad(value, leaves)


def similarity(kernel, products):
    """log s with a graph, by its slope: exact in value and first derivative."""
    log_s, slope = kernel.log_similarity(products.detach().clone())
    slope = torch.ones_like(log_s) if slope is None else slope
    return log_s + slope * (products - products.detach())


@pytest.mark.parametrize("detach", [False, True])
# The symmetric ones are the mean of two such recursions.
@pytest.mark.parametrize("name", [n for n in PRESETS if n not in ("clip", "cmc")])
def test_the_recursion_is_that_of_whole_matrices(name, detach, monkeypatch):
    monkeypatch.setattr(rowwise, "CPU_CHUNK", 50)  # a few rows at a time
    over = RecursiveLoss(
        create(name),
        coupling=0.3,
        depth=2,
        temperature_decay=0.2,
        detach_target=detach,
    )
    torch.testing.assert_close(
        value_and_gradients(over, name),
        dense(create(name), name, 0.3, 2, 0.2, detach),
        rtol=1e-8,
        atol=1e-9,
    )


@pytest.mark.parametrize("name", PRESETS)
def test_every_chunk_size_gives_the_dense_result(name, monkeypatch):
    for criterion in (create(name), RecursiveLoss(create(name))):
        expected = value_and_gradients(criterion, name)
        for elements in (1, 30, 64, 1000):
            monkeypatch.setattr(rowwise, "CPU_CHUNK", elements)
            # A queue moves on: start from the same one.
            found = value_and_gradients(again(criterion, name), name)
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
        monkeypatch.undo()


def again(criterion, name):
    fresh = create(name)
    return RecursiveLoss(fresh) if isinstance(criterion, RecursiveLoss) else fresh


def test_the_learnt_temperature_gets_its_gradient():
    torch.manual_seed(0)
    z0, z1 = torch.randn(2, 9, 3, dtype=torch.float64).unbind()
    clip = create_loss("clip", temperature=0.3).double()
    criterion = RecursiveLoss(clip)
    (grad,) = torch.autograd.grad(criterion(z0, z1), clip.log_temperature)
    step = 1e-6
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            clip.log_temperature += sign * step
            values.append(criterion(z0, z1))
            clip.log_temperature -= sign * step
    torch.testing.assert_close(
        grad, (values[0] - values[1]) / (2 * step), rtol=1e-6, atol=0
    )
    assert list(criterion.parameters()) == [clip.log_temperature]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("scale", [1e-4, 1e4])
@pytest.mark.parametrize(
    "degenerate",
    [
        lambda z: z[:1].repeat(len(z), 1),
        lambda z: z * 0,
        lambda z: z * (torch.arange(len(z)) % 2)[:, None],
    ],
    ids=["identical", "zero", "half-zero"],
)
def test_degenerate_embeddings_have_finite_gradients_in_every_row(
    name, scale, degenerate
):
    for criterion in (create(name), RecursiveLoss(create(name))):
        leaves = [
            (degenerate(z) * scale).float().requires_grad_() for z in CALLS[name].views
        ]
        loss = call(criterion.float(), name, *leaves)
        assert loss.isfinite()
        assert all(g.isfinite().all() for g in torch.autograd.grad(loss, leaves))
