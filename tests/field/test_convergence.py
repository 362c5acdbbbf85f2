import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import cosine
from quiet_trainer import trainer
from scipy.special import rel_entr, softmax
from tiny_recipes import History, Recipe, filled_field, loader_of

from rkdo_plugin import (
    ConvergenceMonitor,
    FieldCallback,
    IConLoss,
    ResponseField,
    StopWhenFlat,
)
from rkdo_plugin.field import convergence
from rkdo_plugin.field.convergence import convergence_bound, field_divergence


@pytest.mark.parametrize("chunk", [2**22, 40])
def test_divergence_is_the_naive_loops(monkeypatch, chunk):
    monkeypatch.setattr(convergence, "CHUNK", chunk)
    field = filled_field(embedding_dtype=torch.float32, coupling=0.0)
    seen = [0, 1, 2, 4, 5, 7, 9]
    field.update(torch.tensor(seen), torch.randn(7, 4))
    found = field_divergence(field, torch.arange(12))
    z = field.embeddings.double().numpy()
    for i in range(12):
        row = {
            int(j): float(w)
            for j, w in zip(field.ids[i], field.weights[i], strict=True)
            if int(j) in seen
        }
        if i not in seen or not row:
            assert math.isnan(found[i])
            continue
        others = [j for j in seen if j != i]
        q = softmax([cosine(z[i], z[j]) / field.teacher_temperature for j in others])
        p = [row.get(j, 0) / sum(row.values()) for j in others]
        np.testing.assert_allclose(found[i], rel_entr(p, q).sum(), rtol=1e-4)


def kl(p, q):
    return rel_entr(p, q).sum(axis=1).mean()


def table(seed, rows=5, columns=6):
    return softmax(np.random.default_rng(seed).normal(size=(rows, columns)), axis=1)


@pytest.mark.parametrize("coupling", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("fit", ["exact", "gradient", "none"])
def test_bound_holds_where_q_is_fitted_to_p(coupling, fit):
    """A free table of logits can represent every p; theorem 3 asks for no more."""
    p, logits = table(0), np.log(table(1))
    initial = kl(p, softmax(logits, axis=1))
    for step in range(1, 15):
        q = softmax(logits, axis=1)
        p = (1 - coupling) * p + coupling * q
        if fit == "exact":
            logits = np.log(p)
        elif fit == "gradient":  # of the cross-entropy; small enough to descend
            logits = logits - 0.3 * (q - p)
        value = kl(p, softmax(logits, axis=1))
        assert value <= convergence_bound(initial, coupling, step) + 1e-12
        if fit == "exact":
            assert value < 1e-12


@pytest.mark.parametrize("coupling", [0.1, 0.5])
def test_bound_with_an_error_of_the_fit(coupling):
    generator = np.random.default_rng(2)
    p, q = table(0), table(1)
    initial, errors = kl(p, q), []
    for step in range(1, 15):
        p, before = (1 - coupling) * p + coupling * q, q
        q = softmax(np.log(q) + generator.normal(scale=0.2, size=q.shape), axis=1)
        errors.append(max(0.0, kl(p, q) - kl(p, before)))
        bound = convergence_bound(initial, coupling, step, error=max(errors))
        assert kl(p, q) <= bound + 1e-12


def log_linear(p, q, share):
    """p^(1 - s) q^s / Z."""
    with np.errstate(divide="ignore"):
        return softmax((1 - share) * np.log(p) + share * np.log(q), axis=-1)


@st.composite
def distributions(draw):
    """p and q (C,) of any peakedness, without zeros."""
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    size = draw(st.integers(2, 9))
    scales = draw(st.tuples(st.floats(0.01, 30), st.floats(0.01, 30)))
    return [softmax(scale * generator.normal(size=size)) for scale in scales]


@given(distributions(), st.floats(0, 1))
def test_the_log_linear_mixture_contracts_the_reversed_divergence(drawn, coupling):
    p, q = drawn
    path = np.array([log_linear(p, q, s) for s in np.linspace(0, 1, 33)])
    reverse = rel_entr(q, path).sum(axis=1)
    slack = 1e-12 * max(1, reverse[0])
    assert (reverse[:-2] + reverse[2:] - 2 * reverse[1:-1] >= -slack).all()  # convex
    assert abs(reverse[-1]) <= slack
    moved = rel_entr(q, log_linear(p, q, coupling)).sum()
    assert moved <= (1 - coupling) * reverse[0] + slack
    forward = rel_entr(path, q).sum(axis=1)
    assert (np.diff(forward) <= 1e-12 * max(1, forward[0])).all()


def test_the_log_linear_mixture_need_not_contract_kl_of_p_and_q():
    p, q = np.array([1 - 1e-12, 1e-12]), np.array([0.5, 0.5])
    moved = log_linear(p, q, 0.5)
    assert rel_entr(moved, q).sum() > 0.99 * rel_entr(p, q).sum()
    assert rel_entr(q, moved).sum() <= 0.5 * rel_entr(q, p).sum()
    # The linear mixture contracts that one.
    assert rel_entr((p + q) / 2, q).sum() <= 0.5 * rel_entr(p, q).sum()
    one_hot = np.array([1.0, 0.0])
    np.testing.assert_array_equal(log_linear(one_hot, q, 0.9), one_hot)


@pytest.mark.parametrize("coupling", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("fit", ["exact", "gradient", "none"])
def test_bound_of_the_log_linear_mixture_is_on_the_reversed_divergence(coupling, fit):
    p, logits = table(0), np.log(table(1))
    initial = kl(softmax(logits, axis=1), p)
    for step in range(1, 15):
        q = softmax(logits, axis=1)
        p = log_linear(p, q, coupling)
        if fit == "exact":
            logits = np.log(p)
        elif fit == "gradient":  # of KL(q || p), small enough to descend
            surprise = np.log(q / p)
            mean = (q * surprise).sum(axis=1, keepdims=True)
            logits = logits - 0.3 * q * (surprise - mean)
        value = kl(softmax(logits, axis=1), p)
        assert value <= convergence_bound(initial, coupling, step) + 1e-12
        if fit == "exact":
            assert value < 1e-12


@pytest.mark.parametrize("coupling", [0.1, 0.5])
def test_bound_of_the_log_linear_mixture_with_an_error_of_the_fit(coupling):
    generator = np.random.default_rng(2)
    p, q = table(0), table(1)
    initial, errors = kl(q, p), []
    for step in range(1, 15):
        p, before = log_linear(p, q, coupling), q
        q = softmax(np.log(q) + generator.normal(scale=0.2, size=q.shape), axis=1)
        errors.append(max(0.0, kl(q, p) - kl(before, p)))
        bound = convergence_bound(initial, coupling, step, error=max(errors))
        assert kl(q, p) <= bound + 1e-12


def test_bound_is_the_unrolled_recursion():
    value = 3.0
    for step in range(1, 8):
        value = (1 - 0.3) * value + 0.3 * 0.5 + 0.1
        bound = convergence_bound(3.0, 0.3, step, floor=0.5, error=0.1)
        np.testing.assert_allclose(bound, value)
    assert convergence_bound(3.0, 0.0, 4, error=0.1) == pytest.approx(3.4)


def test_monitor_logs_the_value_and_its_bound():
    field, log = filled_field(coupling=0.5), History()
    monitor = ConvergenceMonitor(field)
    callbacks = FieldCallback(field), monitor
    trainer(*callbacks, logger=log, max_epochs=3).fit(
        Recipe(IConLoss()), loader_of(field)
    )
    values, bounds = (log.values[f"field/divergence{end}"] for end in ("", "_bound"))
    expected = float(field_divergence(field, torch.arange(12)).nanmean())
    np.testing.assert_allclose(values[-1], expected, rtol=1e-5)
    np.testing.assert_allclose(bounds, [values[0] * 0.5**t for t in range(3)])


def test_monitor_logs_no_bound_of_a_log_linear_field():
    field = ResponseField(12, 4, neighbors=2, mixture="log-linear")
    field.initialize(torch.randn(12, 5))
    log = History()
    callbacks = FieldCallback(field), ConvergenceMonitor(field)
    trainer(*callbacks, logger=log, max_epochs=2).fit(
        Recipe(IConLoss()), loader_of(field)
    )
    expected = float(field_divergence(field, torch.arange(12)).nanmean())
    np.testing.assert_allclose(log.values["field/divergence"][-1], expected, rtol=1e-5)
    assert "field/divergence_bound" not in log.values


def test_monitor_waits_for_rows():
    field = ResponseField(12, 4, neighbors=2)
    log = History()
    callbacks = FieldCallback(field, warmup_epochs=2), ConvergenceMonitor(field)
    trainer(*callbacks, logger=log, max_epochs=3).fit(
        Recipe(IConLoss()), loader_of(field)
    )
    assert len(log.values["field/divergence"]) == 2


class Scripted(pl.Callback):
    """Logs given values, one an epoch."""

    def __init__(self, values):
        self.values = values

    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.log("scripted", self.values[trainer.current_epoch])


@pytest.mark.parametrize(
    ("values", "epochs"),
    [
        ([1.0, 0.9, 0.8, 0.7, 0.6, 0.5], 6),  # falls to the end
        ([1.0, 0.995, 0.993, 0.992, 0.9, 0.8], 3),  # by less than 1 % for two epochs
        ([1.0, 0.995, 0.5, 0.499, 0.498, 0.4], 5),
        ([1.0, 1.2, 1.3, 0.1, 0.1, 0.1], 3),
    ],
)
def test_stops_when_the_value_is_flat(values, epochs):
    field = filled_field()
    stop = StopWhenFlat(patience=2, monitor="scripted")
    run = trainer(Scripted(values), stop, max_epochs=6)
    with pytest.warns(UserWarning, match="says nothing about the features"):
        run.fit(Recipe(IConLoss()), loader_of(field))
    assert run.current_epoch == epochs


def test_a_resumed_run_stops_where_the_whole_one_does(tmp_path):
    values = [1.0, 0.5, 0.499, 0.498, 0.3, 0.2]

    def fit(max_epochs, checkpoint=None):
        field = filled_field(coupling=0.5)
        monitor = ConvergenceMonitor(field)
        stop = StopWhenFlat(patience=2, monitor="scripted")
        callbacks = FieldCallback(field), monitor, Scripted(values), stop
        run = trainer(*callbacks, max_epochs=max_epochs)
        loader = loader_of(field, shuffle=False)
        with pytest.warns(UserWarning, match="says nothing"):
            run.fit(Recipe(IConLoss()), loader, ckpt_path=checkpoint)
        return run, monitor

    first, started = fit(3)
    first.save_checkpoint(tmp_path / "run.ckpt")
    resumed, monitor = fit(6, tmp_path / "run.ckpt")
    assert resumed.current_epoch == 4
    assert monitor.initial == started.initial
    assert monitor.epochs == 3


def test_min_improvement_is_a_share():
    with pytest.raises(ValueError, match="`min_improvement`"):
        StopWhenFlat(min_improvement=1.0)
