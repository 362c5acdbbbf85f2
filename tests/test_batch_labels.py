"""A criterion that reads labels gets those of each batch, in any recipe."""

import pytest
import torch
from pytorch_lightning import Trainer
from recipe_steps import fit
from torch import nn

from rkdo_plugin import BatchLabels, RecursiveLoss, SwapLoss, create_loss, create_recipe

LABELS = torch.tensor([0, 1, 0, 1, 2, 2])
BATCH = [[torch.rand(6, 1, 28, 28), torch.rand(6, 1, 28, 28)], LABELS]


class Seen(nn.Module):
    """Remembers what it was called with."""

    reads_labels = True

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, z0, z1, targets=None):
        self.calls.append(targets)
        return (z0 - z1).square().mean()


class Blind(Seen):
    reads_labels = False


@pytest.mark.parametrize(("name", "calls"), [("simclr", 1), ("byol", 2)])
def test_every_call_of_a_recipe_gets_the_labels(name, calls):
    criterion = Seen()
    fit(create_recipe(name, loss=criterion, in_channels=1), [BATCH], BatchLabels())
    assert len(criterion.calls) == calls
    for labels in criterion.calls:
        assert torch.equal(labels, LABELS)


def test_a_criterion_that_reads_none_is_left_alone():
    criterion = Blind()
    fit(create_recipe("simclr", loss=criterion, in_channels=1), [BATCH], BatchLabels())
    assert criterion.calls == [None]


def test_labels_that_are_given_stay():
    criterion = Seen()
    recipe = create_recipe("simclr", loss=criterion, in_channels=1)
    callback = BatchLabels()
    callback.setup(Trainer(logger=False), recipe, "fit")
    callback.setup(Trainer(logger=False), recipe, "validate")
    given = torch.ones(4)
    criterion(given, given, given)
    criterion(given, given, targets=given)
    assert all(seen is given for seen in criterion.calls)


@pytest.mark.parametrize(
    "loss", [lambda: "supcon", lambda: RecursiveLoss("supcon")], ids=["supcon", "rkdo"]
)
def test_a_swapped_loss_gets_them_too(loss):
    recipe = create_recipe("simclr", in_channels=1)
    before = [weight.clone() for weight in recipe.backbone.parameters()]
    fit(recipe, [BATCH], SwapLoss(loss()))
    after = recipe.backbone.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_batch_without_labels_is_named():
    recipe = create_recipe("simclr", loss="supcon", in_channels=1)
    with pytest.raises(TypeError, match=r"`targets` to be labels \(6,\).* got none"):
        fit(recipe, [[BATCH[0]]], BatchLabels())


def test_the_labels_make_the_loss():
    """Seen from outside: SupCon on two views, with the labels of the batch."""
    recipe = create_recipe("simclr", loss="supcon", in_channels=1)
    losses = []
    recipe.criterion.register_forward_hook(
        lambda criterion, args, loss: losses.append((args, loss))
    )
    fit(recipe, [BATCH], BatchLabels())
    (((z0, z1), loss),) = losses
    torch.testing.assert_close(loss, create_loss("supcon")(z0, z1, LABELS))
