"""Each recipe is its method, bit for bit Lightly's example."""

import copy

import lightly_examples
import pytest
import torch
from lightly.loss import (
    BarlowTwinsLoss,
    DINOLoss,
    NegativeCosineSimilarity,
    NTXentLoss,
    VICRegLoss,
)
from lightly.utils.scheduler import cosine_schedule
from recipe_steps import LEARNING_RATE, STEPS, batches, fit_by_sgd

from rkdo_plugin import IConLoss, create_recipe


def queue_of_lightly():
    return NTXentLoss(0.1, memory_bank_size=(64, 128))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("simclr", {}),
        ("barlowtwins", {}),
        ("vicreg", {}),
        ("byol", {}),
        ("moco", {"loss": queue_of_lightly}),
        ("simsiam", {}),
        ("nnclr", {"queue": 40}),
        ("dino", {"prototypes": 50, "local_views": 2}),
    ],
)
def test_weights_and_momentum_copies_are_those_of_lightlys_example(name, options):
    torch.manual_seed(0)
    built = {k: v() if callable(v) else v for k, v in options.items()}
    recipe = create_recipe(name, in_channels=1, image_size=28, **built)
    example = create_recipe(name, in_channels=1, image_size=28, **built)
    example.load_state_dict(recipe.state_dict())
    if isinstance(example.criterion, NTXentLoss):  # with a queue of its own
        example.criterion = copy.deepcopy(recipe.criterion)
    data = batches(views=4 if name == "dino" else 2)
    torch.manual_seed(1)  # Lightly's queues start at the first call
    fit_by_sgd(recipe, [[views, torch.zeros(16)] for views in data])

    step = getattr(lightly_examples, name)
    optimizer = torch.optim.SGD(
        [p for p in example.parameters() if p.requires_grad], LEARNING_RATE
    )
    torch.manual_seed(1)
    for number, views in enumerate(data):
        momentum = cosine_schedule(number, STEPS, 0.99, 1)
        loss = step(example, views, momentum, 0)
        optimizer.zero_grad()
        loss.backward()
        if name == "dino":
            example.student_head.cancel_last_layer_gradients(current_epoch=0)
        optimizer.step()
    trained = recipe.state_dict()
    for key, value in example.state_dict().items():
        assert torch.equal(trained[key], value), key


@pytest.mark.parametrize(
    ("name", "criterion"),
    [
        ("simclr", NTXentLoss),
        ("byol", NegativeCosineSimilarity),
        ("simsiam", NegativeCosineSimilarity),
        ("nnclr", NTXentLoss),
        ("vicreg", VICRegLoss),
        ("barlowtwins", BarlowTwinsLoss),
        ("dino", DINOLoss),
        ("moco", IConLoss),  # equal to Lightly's: test_key_queue.py
        ("supcon", IConLoss),  # equal to pytorch-metric-learning's: test_table.py
    ],
)
def test_the_default_loss_is_the_published_one(name, criterion):
    assert type(create_recipe(name).criterion) is criterion
