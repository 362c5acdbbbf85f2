import copy
import inspect

import pytest
import torch
from lightly.loss import (
    BarlowTwinsLoss,
    DCLLoss,
    DINOLoss,
    EMPSSLLoss,
    MMCRLoss,
    MSNLoss,
    NegativeCosineSimilarity,
    NTXentLoss,
    SwaVLoss,
    TiCoLoss,
    VICRegLoss,
)
from pytorch_lightning import LightningModule
from quiet_trainer import trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rkdo_plugin import IConLoss, RKDOLoss, SwapLoss, swap_loss


class Recipe(LightningModule):
    """Two views through one linear encoder, called as `call` says."""

    def __init__(self, criterion, call):
        super().__init__()
        self.encoder = nn.Linear(6, 4)
        self.predictor = nn.Linear(4, 4)
        self.criterion = criterion
        self.call = call
        self.losses = []

    def training_step(self, batch, _):
        z0, z1 = self.encoder(batch[0]), self.encoder(batch[1])
        loss = self.call(self, z0, z1)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.encoder.parameters(), lr=0.5)


def both(recipe, z0, z1):
    return recipe.criterion(z0, z1)


def detached_second(recipe, z0, z1):
    return recipe.criterion(z0, z1.detach())


def twice_second_detached(recipe, z0, z1):
    p0, p1 = recipe.predictor(z0), recipe.predictor(z1)
    return 0.5 * (recipe.criterion(p0, z1.detach()) + recipe.criterion(p1, z0.detach()))


def twice_first_detached(recipe, z0, z1):
    p0, p1 = recipe.predictor(z0), recipe.predictor(z1)
    return 0.5 * (recipe.criterion(z0.detach(), p1) + recipe.criterion(z1.detach(), p0))


def mean_of_views(recipe, z0, z1):
    views = torch.stack([z0, z1, z0 + z1, z0 - z1])
    calls = [
        recipe.criterion(views[i], views[torch.arange(4) != i].mean(dim=0).detach())
        for i in range(4)
    ]
    return sum(calls) / 4


def by_keyword(recipe, z0, z1):
    return recipe.criterion(z_b=z1.detach(), z_a=z0)


def batches():
    x = torch.randn(24, 6, generator=torch.manual_seed(0))
    return DataLoader(TensorDataset(x, x + 0.1), batch_size=8)


def fit(recipe, *callbacks):
    trainer(*callbacks, max_steps=3).fit(recipe, batches())


LIGHTLYS_CALLS = {
    "simclr": (NTXentLoss, both),
    "dcl": (DCLLoss, both),
    "barlowtwins": (BarlowTwinsLoss, both),
    "vicreg": (VICRegLoss, both),
    "vicreg-benchmark": (VICRegLoss, by_keyword),
    "moco": (lambda: NTXentLoss(memory_bank_size=(64, 4)), detached_second),
    "tico": (TiCoLoss, detached_second),
    "byol": (NegativeCosineSimilarity, twice_second_detached),
    "simsiam": (NegativeCosineSimilarity, twice_first_detached),
    "nnclr": (NTXentLoss, twice_first_detached),
    "fastsiam": (NegativeCosineSimilarity, mean_of_views),
}


@pytest.mark.parametrize("loss", ["icon", "rkdo"])
@pytest.mark.parametrize("example", LIGHTLYS_CALLS)
def test_every_two_tensor_recipe_trains_with_the_swapped_loss(example, loss):
    criterion, call = LIGHTLYS_CALLS[example]
    recipe = Recipe(criterion(), call)
    initial = copy.deepcopy(recipe.encoder), copy.deepcopy(recipe.predictor)
    before = recipe.encoder.weight.clone()
    fit(recipe, SwapLoss(loss, temperature=0.2))
    assert isinstance(recipe.criterion, IConLoss | RKDOLoss)
    assert not torch.equal(recipe.encoder.weight, before)

    expected = Recipe(type(recipe.criterion)(0.2), call)
    if call is by_keyword:
        expected.call = detached_second
    expected.encoder, expected.predictor = initial
    fit(expected)
    assert recipe.losses == expected.losses


@pytest.mark.parametrize(
    "criterion",
    [
        DINOLoss(output_dim=4),
        SwaVLoss(),
        MSNLoss(),
        EMPSSLLoss(),
    ],
)
def test_recipes_with_another_signature_are_refused_before_training(criterion):
    recipe = Recipe(criterion, both)
    with pytest.raises(TypeError) as error:
        fit(recipe, SwapLoss("rkdo"))
    message = str(error.value)
    assert "Expected Recipe to call its criterion with two tensors" in message
    assert f"{type(criterion).__name__}.forward" in message
    assert next(iter(inspect.signature(criterion.forward).parameters)) in message
    assert "supported are recipes that" in message
    assert recipe.criterion is criterion


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (
            lambda r, z0, z1: r.criterion(torch.stack([z0, z0], 1), z1),
            r"float32 tensor \(8, 2, 4\), float32 tensor \(8, 4\)",
        ),
        (lambda r, z0, z1: r.criterion([z0, z1], [z0]), "list of 2, list of 1"),
        (lambda r, z0, z1: r.criterion(z0, z1, 3), r"tensor \(8, 4\), 3"),
        (lambda r, z0, z1: r.criterion(z0), r"float32 tensor \(8, 4\)\)"),
        (lambda r, z0, z1: r.criterion(z0, momentum=z1, extra=1), "extra=1"),
        (lambda r, z0, z1: r.criterion(z0, torch.arange(8)), r"int64 tensor \(8,\)"),
    ],
)
def test_other_calls_are_refused_at_the_first_step(call, shown):
    recipe = Recipe(MMCRLoss(), call)
    before = recipe.encoder.weight.clone()
    with pytest.raises(
        TypeError, match=rf"Expected Recipe .* self\.criterion\(.*{shown}"
    ):
        fit(recipe, SwapLoss("icon"))
    assert torch.equal(recipe.encoder.weight, before)


def test_a_missing_attribute_names_what_looks_like_a_criterion():
    with pytest.raises(
        AttributeError, match=r"Recipe\.loss .* pass attribute= .*: criterion$"
    ):
        swap_loss(Recipe(NTXentLoss(), both), "rkdo", attribute="loss")


def test_an_unknown_loss_lists_the_known_ones():
    with pytest.raises(
        ValueError, match=r"no loss named 'rkd'; known: bar.*rkdo.*did you mean rkdo"
    ):
        SwapLoss("rkd")


def test_options_belong_to_a_name():
    with pytest.raises(TypeError, match="options with a loss's name only"):
        SwapLoss(IConLoss(), temperature=0.1)


def test_a_swap_outlives_validation_and_a_second_fit():
    recipe = Recipe(NTXentLoss(), both)
    swap = SwapLoss(IConLoss(0.3))
    for _ in range(2):
        fit(recipe, swap)
        assert recipe.criterion is swap.criterion
    assert len(recipe.criterion._forward_pre_hooks) == 1


@pytest.mark.parametrize("call", [both, by_keyword])
def test_a_swapped_criterion_can_be_swapped_again(call):
    recipe = swap_loss(Recipe(VICRegLoss(), call), "rkdo")
    swap_loss(recipe, "icon", temperature=0.3)
    z0, z1 = torch.randn(8, 4), torch.randn(8, 4)
    assert call(recipe, z0, z1) == IConLoss(0.3)(z0, z1)


class Scaled(IConLoss):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, z0, z1):
        return self.scale * super().forward(z0, z1)


def test_a_criterion_whose_parameters_no_optimizer_holds_is_refused():
    recipe = Recipe(NTXentLoss(), both)
    with pytest.raises(ValueError, match=r"hold the criterion's parameter 'scale'"):
        fit(recipe, SwapLoss(Scaled()))
