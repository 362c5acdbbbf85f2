import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from lightly.loss import NTXentLoss
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from rkdo_plugin.plugins.create import create_encoder, create_recipe
from rkdo_plugin.recipes.encoders.feature_dim import feature_dim

VIEWS = [torch.rand(8, 3, 32, 32), torch.rand(8, 3, 32, 32)]
LABELS = torch.zeros(8)


def fit(recipe, batches, callbacks=()):
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(recipe, DataLoader(batches, batch_size=None))


class Scaled(nn.Module):
    """A criterion with a parameter of its own, that remembers how it was called."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.calls = []

    def forward(self, z0, z1):
        self.calls.append((z0, z1))
        return self.scale * functional.mse_loss(z0, z1)


@pytest.mark.parametrize("name", ["simclr", "byol"])
def test_every_trainable_parameter_learns_the_criterions_too(name):
    recipe = create_recipe(name, loss=Scaled())
    before = {key: value.clone() for key, value in recipe.named_parameters()}
    fit(recipe, [[VIEWS, LABELS], [VIEWS, LABELS, ["a.png"] * 8]])
    for key, value in recipe.named_parameters():
        frozen = "momentum" in key
        assert value.requires_grad is not frozen
        if not frozen and "bias" not in key:
            assert not torch.equal(value, before[key]), key


def test_simclr_reads_two_views():
    criterion = Scaled()
    recipe = create_recipe("simclr", loss=criterion).eval()
    recipe.log = lambda *args, **kwargs: None
    loss = recipe.training_step([VIEWS, LABELS], 0)
    embeddings = [recipe.projection_head(recipe.backbone(view)) for view in VIEWS]
    torch.testing.assert_close(loss, functional.mse_loss(*embeddings))
    assert all(z.requires_grad for z in criterion.calls[0])


def test_byol_calls_its_criterion_twice_with_targets_detached():
    criterion = Scaled()
    fit(create_recipe("byol", loss=criterion), [[VIEWS, LABELS]])
    assert len(criterion.calls) == 2
    for prediction, target in criterion.calls:
        assert prediction.requires_grad
        assert not target.requires_grad


def test_byol_targets_are_a_moving_average():
    torch.manual_seed(0)
    recipe = create_recipe("byol")
    history = [recipe.backbone.layers[0][0].weight.detach().clone()]

    class Record(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *rest):
            history.append(recipe.backbone.layers[0][0].weight.detach().clone())

    fit(recipe, [[VIEWS, LABELS]] * 4, [Record()])
    average = history[0]
    for step, weight in enumerate(history[:4]):
        # 0.99 rises to 1 along a cosine over the four steps.
        momentum = 1 - 0.01 * (np.cos(np.pi * step / 3) + 1) / 2
        average = momentum * average + (1 - momentum) * weight
    torch.testing.assert_close(recipe.backbone_momentum.layers[0][0].weight, average)


def test_loss_by_name_with_options():
    recipe = create_recipe("simclr", loss="ntxent", loss_options={"temperature": 0.07})
    assert isinstance(recipe.criterion, NTXentLoss)
    assert recipe.criterion.temperature == 0.07


def test_unknown_names():
    with pytest.raises(ValueError, match="no loss named 'nt-xent'"):
        create_recipe("simclr", loss="nt-xent")
    with pytest.raises(ValueError, match="no encoder named 'resnet'"):
        create_recipe("byol", encoder="resnet")


def test_an_unflattened_backbone_as_in_lightlys_examples():
    backbone = nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1))
    assert create_recipe("simclr", encoder=backbone)(VIEWS[0]).shape == (8, 128)


@pytest.mark.parametrize(
    ("name", "channels", "size", "dim"),
    [
        ("small-convnet", 1, 28, 96),
        ("resnet18", 1, 28, 512),
        ("resnet18", 3, 64, 512),
        ("resnet50", 3, 32, 2048),
        ("timm:vit_tiny_patch16_224", 3, 224, 192),
    ],
)
def test_encoders(name, channels, size, dim):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    encoder = create_encoder(name, in_channels=channels)
    state = {key: value.clone() for key, value in encoder.state_dict().items()}
    assert feature_dim(encoder, channels, size) == dim
    assert encoder.training
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, state[key]), key
