"""Every way that Lightly's recipes call a criterion, and what is noted of it."""

import pytest
import pytorch_lightning as pl
import tiny_recipes
import torch
from fields_by_hand import Compare
from lightly.loss import (
    BarlowTwinsLoss,
    NegativeCosineSimilarity,
    NTXentLoss,
    VICRegLoss,
)
from quiet_trainer import trainer
from tiny_recipes import DIM, AlsoWithoutGradient, Recipe, filled_field, loader_of
from torch import nn

from rkdo_plugin import FieldCallback, IConLoss, LossHead, RKDOLoss, SwapLoss

CRITERIA = {
    "ntxent": NTXentLoss,
    "icon": IConLoss,
    "rkdo": RKDOLoss,
    "negative-cosine": NegativeCosineSimilarity,
    "barlow-twins": BarlowTwinsLoss,
}
FORMS = [
    (tiny_recipes.simclr, "ntxent"),
    (tiny_recipes.simclr, "icon"),
    (tiny_recipes.simclr, "rkdo"),
    (tiny_recipes.simclr, "barlow-twins"),
    (tiny_recipes.moco, "ntxent"),
    (tiny_recipes.moco, "icon"),
    (tiny_recipes.byol, "negative-cosine"),
    (tiny_recipes.byol, "rkdo"),
    (tiny_recipes.byol, "icon"),
    (tiny_recipes.simsiam, "negative-cosine"),
    (tiny_recipes.simsiam, "icon"),
    (tiny_recipes.nnclr, "ntxent"),
    (tiny_recipes.nnclr, "rkdo"),
    (tiny_recipes.fastsiam, "negative-cosine"),
    (tiny_recipes.fastsiam, "rkdo"),
]


@pytest.mark.parametrize(("form", "criterion"), FORMS)
def test_every_step_stores_the_embeddings_and_moves_the_rows_once(form, criterion):
    field = filled_field()
    compare = Compare(field)
    recipe = Recipe(CRITERIA[criterion](), form)
    count = 4 if form is tiny_recipes.fastsiam else 2
    trainer(FieldCallback(field), compare).fit(recipe, loader_of(field, count))
    assert compare.seen == 6


@pytest.mark.parametrize("form", [tiny_recipes.vicreg, tiny_recipes.vicreg_other_order])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("swap_first", [False, True])
def test_a_criterion_called_by_keyword(form, swapped, swap_first):
    field = filled_field()
    compare = Compare(field)
    callbacks = [FieldCallback(field), compare]
    if swapped:
        callbacks.insert(0 if swap_first else 1, SwapLoss("icon"))
    trainer(*callbacks).fit(Recipe(VICRegLoss(), form), loader_of(field))
    assert compare.seen == 6


class OfQueryAndKey(nn.Module):
    """Its arguments' names are not in the alphabet's order."""

    def forward(self, query, key):
        return (query - key).square().mean()


def query_and_key(recipe, z, p):
    return recipe.criterion(key=recipe.note(1, z), query=recipe.note(0, z))


def test_keywords_are_views_in_the_order_of_the_parameters():
    field = filled_field()
    compare = Compare(field)
    trainer(FieldCallback(field), compare).fit(
        Recipe(OfQueryAndKey(), query_and_key), loader_of(field)
    )
    assert compare.seen == 6


class WithIds(nn.Module):
    """A third party's criterion that asks for the samples of its rows."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, z0, z1, sample_ids=None):
        self.seen.append((torch.is_grad_enabled(), sample_ids))
        return (z0 - z1).square().mean()


@pytest.mark.parametrize("form", [tiny_recipes.simclr, tiny_recipes.byol])
def test_a_criterion_that_asks_is_told_the_samples(form):
    field = filled_field()
    criterion, batches = WithIds(), []

    class Batches(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            batches.append(batch[2:])

    trainer(FieldCallback(field), Batches()).fit(
        AlsoWithoutGradient(criterion, form), loader_of(field), loader_of(field)
    )
    told = [ids for _, ids in criterion.seen if ids is not None]
    calls = 2 if form is tiny_recipes.byol else 1
    assert len(told) == 6 * calls
    for call, ids in enumerate(told):
        i, j = batches[call // calls]
        expected = (i, j) if call % calls == 0 else (j, i)
        assert all(torch.equal(*pair) for pair in zip(ids, expected, strict=True))


@pytest.mark.parametrize(
    "criterion",
    [
        IConLoss(0.2),
        IConLoss(0.2, candidates="cross", debias=0.1),
        RKDOLoss(),
        RKDOLoss(candidates="all"),
    ],
)
def test_our_criteria_leave_other_copies_out(criterion):
    field = filled_field()
    recipe = Recipe(criterion)
    ids, unmasked = [], []

    class Batches(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            ids.append(tuple(batch[2:]))

    trainer(FieldCallback(field), Batches()).fit(recipe, loader_of(field, batch_size=6))
    for step, loss in enumerate(recipe.losses):
        z0, z1 = (z for _, z in recipe.noted[2 * step :][:2])
        # tests/supervision/test_comparison.py compares these with naive loops.
        assert loss == pytest.approx(criterion(z0, z1, sample_ids=ids[step]).item())
        unmasked.append(criterion(z0, z1).item())
    assert recipe.losses != pytest.approx(unmasked)


def thrice(recipe, z, p):
    return sum(recipe.criterion(*z) for _ in range(3))


def detached(recipe, z, p):
    recipe.criterion(z[0].detach(), z[1].detach())
    return p[0].sum()


def in_lists(recipe, z, p):
    return recipe.criterion(list(z), list(z))


def of_one(recipe, z, p):
    return recipe.criterion(z[0])


class Any(nn.Module):
    def forward(self, *args):
        return sum(z.sum() for arg in args for z in arg)


@pytest.mark.parametrize(
    ("form", "criterion", "error", "message"),
    [
        (thrice, NTXentLoss(), RuntimeError, "at most 2 calls .* but got call 3"),
        (detached, NTXentLoss(), RuntimeError, "embeddings that carry gradient"),
        (in_lists, Any(), TypeError, r"two tensors \(B, D\).*got \(list, list\)"),
        (of_one, Any(), TypeError, r"two tensors \(B, D\).*got \(tensor \(4, 4\)\)"),
    ],
)
def test_other_calls_are_refused(form, criterion, error, message):
    field = filled_field()
    with pytest.raises(error, match=message):
        trainer(FieldCallback(field)).fit(Recipe(criterion, form), loader_of(field))


def with_loss_head(recipe, z, p):
    projected = [recipe.criterion.projection(view) for view in z]
    recipe.note(0, projected)
    recipe.note(1, projected)
    return recipe.criterion(*z)


def test_a_loss_heads_projections_are_stored():
    field = filled_field()
    compare = Compare(field)
    recipe = Recipe(LossHead(nn.Linear(DIM, DIM), IConLoss()), with_loss_head)
    trainer(FieldCallback(field, attribute="criterion.criterion"), compare).fit(
        recipe, loader_of(field)
    )
    assert compare.seen == 6


@pytest.mark.parametrize("whole", [False, True])
def test_compiled_criteria_and_recipes(whole):
    field = filled_field()
    compare = Compare(field)
    recipe = Recipe(WithIds(), tiny_recipes.byol)
    if not whole:
        recipe.criterion = torch.compile(recipe.criterion, backend="eager")
    trainer(FieldCallback(field), compare).fit(
        torch.compile(recipe, backend="eager") if whole else recipe, loader_of(field)
    )
    assert compare.seen == 6
    inner = recipe.criterion if whole else recipe.criterion._orig_mod
    assert all(ids is not None for _, ids in inner.seen)
