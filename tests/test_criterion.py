"""A recipe's criterion, wherever it is: in a list, in a head, under another name."""

import pytest
import torch
from lightly.loss import NTXentLoss
from pytorch_lightning import LightningModule
from quiet_trainer import trainer
from tiny_recipes import filled_field, loader_of
from torch import nn

from rkdo_plugin import (
    BatchLabels,
    FieldCallback,
    IConLoss,
    LossHead,
    SwapLoss,
    create_loss,
    swap_loss,
)
from rkdo_plugin.criterion import find_criterion


class Nested(LightningModule):
    """Calls a criterion in a ModuleList, or one within a LossHead."""

    def __init__(self, attribute, criterion=None):
        super().__init__()
        torch.manual_seed(0)
        criterion = NTXentLoss() if criterion is None else criterion
        self.encoder = nn.Linear(3, 4)
        self.attribute = attribute
        if attribute == "losses.0":
            self.losses = nn.ModuleList([criterion])
        else:
            self.head = LossHead(nn.Identity(), criterion)

    def training_step(self, batch, _):
        z0, z1 = (self.encoder(view / 10) for view in batch[0])
        called = self.losses[0] if self.attribute == "losses.0" else self.head
        return called(z0, z1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


everywhere = pytest.mark.parametrize("attribute", ["losses.0", "head.criterion"])


@everywhere
def test_a_nested_criterion_is_swapped(attribute):
    recipe = Nested(attribute)
    swap_loss(recipe, "icon", attribute, temperature=0.3)
    assert isinstance(find_criterion(recipe, attribute), IConLoss)


@everywhere
def test_the_callbacks_of_swap_and_field_find_it(attribute):
    field, recipe = filled_field(), Nested(attribute)
    swap = SwapLoss("rkdo", attribute, temperature=0.2)
    trainer(swap, FieldCallback(field, attribute=attribute)).fit(
        recipe, loader_of(field)
    )
    assert find_criterion(recipe, attribute) is swap.criterion
    assert bool(field.valid.all())


@pytest.mark.parametrize("attribute", ["losses.0", "head.criterion", "head"])
def test_labels_reach_it(attribute):
    """Also a head whose criterion reads labels, by the head's own name."""
    criterion = create_loss("supcon")
    seen, forward = [], criterion.forward

    def watched(z0, z1, targets=None):
        seen.append(targets)
        return forward(z0, z1, targets)

    criterion.forward = watched
    recipe = Nested(attribute, criterion)
    labels = BatchLabels(attribute)
    trainer(labels, max_epochs=1).fit(recipe, loader_of(filled_field()))
    assert len(seen) == 3
    assert all(isinstance(given, torch.Tensor) for given in seen)


@pytest.mark.parametrize(
    ("attribute", "listed"),
    [("criterion", "losses.0"), ("losses.1", "losses.0")],
)
def test_a_wrong_name_lists_what_looks_like_a_criterion(attribute, listed):
    message = rf"Nested\.{attribute} to be the criterion.* got NoneType; .*: {listed}$"
    for use in (swap_loss, lambda recipe, _, name: find_criterion(recipe, name)):
        with pytest.raises(AttributeError, match=message):
            use(Nested("losses.0"), "rkdo", attribute)
