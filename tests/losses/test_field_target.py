import numpy as np
import pytest
import torch
from oracles import field_target_loss
from quiet_trainer import trainer
from tiny_recipes import DIM, Recipe, filled_field, loader_of

from rkdo_plugin import FieldCallback, FieldTargetLoss, IConLoss, ResponseField, rowwise

IDS = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([1, 1, 4, 9, 0])


def batch(count=5):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, count, DIM, generator=generator).unbind()


def seen_field(samples=range(12), **options):
    field = filled_field(embedding_dtype=torch.float32, coupling=0.0, **options)
    index = torch.tensor(list(samples))
    generator = torch.Generator().manual_seed(1)
    field.update(index, torch.randn(len(index), DIM, generator=generator))
    return field


@pytest.mark.parametrize("candidates", ["cross", "all"])
@pytest.mark.parametrize("samples", [range(12), range(0, 12, 2), [3, 4], [11]])
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_value_is_the_naive_loops(candidates, samples, weight):
    field = seen_field(samples, field_weight=weight)
    z0, z1 = batch()
    loss = FieldTargetLoss(field, 0.3, candidates=candidates)(z0, z1, sample_ids=IDS)
    ids = tuple(i.tolist() for i in IDS)
    expected = field_target_loss(z0, z1, ids, field, 0.3, candidates)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_rows_that_leave_the_positive_nothing_are_finite():
    """Their weights sum to 1 but for rounding, to more or to less."""
    generator = torch.Generator().manual_seed(0)
    field = ResponseField(200, 16, neighbors=8, field_weight=1.0)
    features, z, z0, z1 = torch.randn(4, 200, 16, generator=generator)
    field.initialize(features)
    field.update(torch.arange(200), z)
    ids = torch.arange(50)
    loss = FieldTargetLoss(field, 0.3)(z0[:50], z1[:50], sample_ids=(ids, ids))
    known = (ids.tolist(), ids.tolist())
    expected = field_target_loss(z0[:50], z1[:50], known, field, 0.3, "cross")
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("detached", [None, 0, 1])
def test_gradient_is_the_naive_loops(detached):
    field = seen_field()
    views = [z.double() for z in batch()]
    for side, z in enumerate(views):
        z.requires_grad_(side != detached)
    FieldTargetLoss(field, 0.3, candidates="all")(*views, sample_ids=IDS).backward()
    ids = tuple(i.tolist() for i in IDS)
    for side, z in enumerate(views):
        if side == detached:
            assert z.grad is None
            continue
        for row, column in ((0, 0), (2, 3)):
            values = []
            for shift in (1e-5, -1e-5):
                moved = [view.detach().clone() for view in views]
                moved[side][row, column] += shift
                values.append(field_target_loss(*moved, ids, field, 0.3, "all"))
            slope = (values[0] - values[1]) / 2e-5
            np.testing.assert_allclose(z.grad[row, column], slope, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"candidates": "all"}, {"symmetric": True}])
def test_a_one_hot_field_is_icon(options):
    field = ResponseField(12, DIM, neighbors=2)
    samples = torch.arange(5)
    z0, z1 = (z.requires_grad_() for z in batch())
    ours = FieldTargetLoss(field, 0.3, **options)(z0, z1, sample_ids=(samples, samples))
    icon = IConLoss(0.3, candidates=options.get("candidates", "cross"))
    expected = icon(z0, z1)
    if "symmetric" in options:
        expected = (expected + icon(z1, z0)) / 2
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        torch.autograd.grad(ours, (z0, z1)), torch.autograd.grad(expected, (z0, z1))
    )


def test_chunks_change_nothing(monkeypatch):
    field = seen_field()
    loss = FieldTargetLoss(field, 0.3, candidates="all")
    whole = loss(*batch(), sample_ids=IDS)
    monkeypatch.setattr(rowwise, "CPU_CHUNK", 25)
    torch.testing.assert_close(loss(*batch(), sample_ids=IDS), whole)


def test_it_trains_through_the_callback_and_is_saved_once():
    field = filled_field(coupling=0.5)
    recipe = Recipe(FieldTargetLoss(field))
    before = recipe.encoder.weight.clone()
    trainer(FieldCallback(field)).fit(recipe, loader_of(field))
    assert all(np.isfinite(recipe.losses))
    assert not torch.equal(recipe.encoder.weight, before)
    assert not [name for name in recipe.state_dict() if "criterion" in name]


def test_samples_must_be_named():
    with pytest.raises(ValueError, match="add FieldCallback"):
        FieldTargetLoss(seen_field())(*batch())


def test_partners_of_other_data_are_refused():
    ids = torch.arange(5)
    with pytest.raises(ValueError, match=r"in \[0, 12\) but got 12"):
        FieldTargetLoss(seen_field())(*batch(), sample_ids=(ids, ids + 8))


def test_a_second_derivative_is_refused():
    z0, z1 = (z.requires_grad_() for z in batch())
    loss = FieldTargetLoss(seen_field())(z0, z1, sample_ids=IDS)
    with pytest.raises(RuntimeError, match="once but got create_graph=True"):
        torch.autograd.grad(loss, z0, create_graph=True)
