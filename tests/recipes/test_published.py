"""Each recipe is its method: Lightly's example, or the paper's formula."""

import copy
import math

import lightly_examples
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from lightly.loss import (
    BarlowTwinsLoss,
    DINOLoss,
    NegativeCosineSimilarity,
    NTXentLoss,
    VICRegLoss,
)
from lightly.utils.scheduler import cosine_schedule
from torch.utils.data import DataLoader

from rkdo_plugin import IConLoss, create_loss, create_recipe
from rkdo_plugin.recipes.semi_supervised import ramp_up

STEPS = 4
LEARNING_RATE = 0.05


def batches(views=2, epochs=1, seed=5):
    random = torch.Generator().manual_seed(seed)
    sizes = [28, 28] + [14] * (views - 2)
    return [
        [torch.rand(16, 1, size, size, generator=random) for size in sizes]
        for _ in range(STEPS)
    ]


def fit(recipe, batches, epochs=1, **options):
    recipe.configure_optimizers = lambda: torch.optim.SGD(
        [p for p in recipe.parameters() if p.requires_grad], LEARNING_RATE
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(recipe, DataLoader(batches, batch_size=None))


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
    fit(recipe, [[views, torch.zeros(16)] for views in data])

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


def test_momentum_follows_optimizer_steps_and_not_batches():
    torch.manual_seed(0)
    recipe = create_recipe("moco", in_channels=1, image_size=28)
    weight = recipe.backbone.layers[0][0].weight
    history = [weight.detach().clone()]

    class Record(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if batch_idx % 2:
                history.append(weight.detach().clone())

    data = [[views, torch.zeros(16)] for views in batches()]
    fit(recipe, data, accumulate_grad_batches=2, callbacks=[Record()])
    average = history[0]
    for step, now in enumerate(history[:2]):  # 4 batches are 2 steps
        momentum = cosine_schedule(step, 2, 0.99, 1)
        average = momentum * average + (1 - momentum) * now
    copied = recipe.backbone_momentum.layers[0][0].weight
    torch.testing.assert_close(copied, average)


def labelled_batches(epochs=1):
    labels = torch.tensor([0, 1, 2, -1] * 4)
    return [
        [views, labels, torch.arange(16) + 16 * number]
        for number, views in enumerate(batches())
    ]


class Losses(pl.Callback):
    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, module, outputs, *rest):
        self.values.append(float(outputs["loss"]))


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def cross_entropy(probabilities, labels):
    """Sum over the labelled, divided by the batch, as in Temporal Ensembling."""
    rows = [-np.log(p[y]) for p, y in zip(probabilities, labels, strict=True) if y >= 0]
    return sum(rows) / len(labels)


def oracle_weight(step, steps):
    return math.exp(-5 * (1 - min(1, step / steps / 0.25)) ** 2)


def test_the_ramp_up():
    assert [ramp_up(t) for t in (0.25, 1.0)] == [1.0, 1.0]
    for step in range(10):
        assert ramp_up(step / 40) == pytest.approx(oracle_weight(step, 40))


def test_mean_teacher_is_the_formula():
    torch.manual_seed(0)
    options = {"num_classes": 3, "consistency": 7.0, "momentum": 0.6}
    recipe = create_recipe("mean_teacher", in_channels=1, image_size=28, **options)
    recipe = recipe.double()
    example = copy.deepcopy(recipe)
    data = [[[v.double() for v in views], *rest] for views, *rest in labelled_batches()]
    losses = Losses()
    fit(recipe, data, callbacks=[losses])

    trained = [p for p in example.parameters() if p.requires_grad]
    for step, (views, labels, _) in enumerate(data):
        alpha = min(1 - 1 / (step + 1), 0.6)
        pairs = (
            (example.student_backbone, example.teacher_backbone),
            (example.student_head, example.teacher_head),
        )
        with torch.no_grad():
            for student, teacher in pairs:
                for p, average in zip(
                    student.parameters(), teacher.parameters(), strict=True
                ):
                    average.copy_(alpha * average + (1 - alpha) * p)
        logits = example.student_head(example.student_backbone(views[0]))
        with torch.no_grad():
            target = example.teacher_head(example.teacher_backbone(views[1]))
        p, t = softmax(logits.detach().numpy()), softmax(target.numpy())
        weight = 7 * oracle_weight(step, STEPS)
        value = cross_entropy(p, labels.tolist()) + weight * ((p - t) ** 2).mean()
        assert losses.values[step] == pytest.approx(value, abs=1e-12)
        loss = torch.nn.functional.cross_entropy(
            logits, labels, ignore_index=-1, reduction="sum"
        ) / len(labels)
        loss += weight * (logits.softmax(1) - target.softmax(1)).square().mean()
        grads = torch.autograd.grad(loss, trained)
        with torch.no_grad():
            for parameter, grad in zip(trained, grads, strict=True):
                parameter -= LEARNING_RATE * grad
    for key, value in example.state_dict().items():
        torch.testing.assert_close(recipe.state_dict()[key], value)


def test_temporal_ensembling_is_the_formula():
    torch.manual_seed(0)
    options = {"num_classes": 3, "num_samples": 64, "consistency": 7.0, "momentum": 0.6}
    recipe = create_recipe(
        "temporal_ensembling", in_channels=1, image_size=28, **options
    ).double()
    said = []
    recipe.head.register_forward_hook(lambda head, x, z: said.append(z.detach()))
    data = [[[v.double() for v in views], *rest] for views, *rest in labelled_batches()]
    losses = Losses()
    fit(recipe, data, epochs=3, callbacks=[losses])

    z, step = np.zeros((64, 3)), 0
    for epoch in range(3):
        now = np.zeros((64, 3))
        for _, labels, index in data:
            p = softmax(said[step].numpy())
            target = z[index] / (1 - 0.6**epoch) if epoch else p
            weight = 7 * oracle_weight(step, 3 * STEPS)
            value = cross_entropy(p, labels.tolist())
            value += weight * ((p - target) ** 2).mean()
            assert losses.values[step] == pytest.approx(value, abs=1e-12)
            now[index] = p
            step += 1
        z = 0.6 * z + (1 - 0.6) * now
    np.testing.assert_allclose(recipe.ensemble.numpy(), z, atol=1e-12)


def test_samples_that_an_epoch_leaves_out_keep_their_ensemble():
    recipe = create_recipe(
        "temporal_ensembling", num_classes=2, num_samples=3, momentum=0.5
    )
    recipe.trainer = pl.Trainer(accelerator="cpu", logger=False)
    said = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    recipe.note(torch.tensor([0, 2]), said)
    recipe.on_train_epoch_end()
    recipe.note(torch.tensor([0]), said[1:])
    recipe.on_train_epoch_end()
    now = torch.full((3, 2), 0.5)
    target = recipe.target(torch.arange(3), now)
    first = (0.25 * said[0] + 0.5 * said[1]) / 0.75
    torch.testing.assert_close(target, torch.stack([first, now[1], said[1]]))


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
    "options", [{"coupling": 1.5}, {"depth": 0}, {"temperature_decay": 1.0}]
)
def test_rkdo_over_prototypes_refuses(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        create_loss("rkdo-dino", **options)


def test_one_view_is_no_pair():
    teacher, student = dino_views()
    with pytest.raises(ValueError, match=r"two different views but got 1 .* and 1"):
        create_loss("rkdo-dino", output_dim=20)(teacher[:1], student[:1])
