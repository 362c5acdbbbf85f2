import pytest
import pytorch_lightning as pl
import torch
from runs import state, train
from torch import nn

from rkdo_plugin.recipes.training.health import TrainingHealth, TrainingLostError


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(
    tmp_path, settings
):
    class Explode(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 6:
                next(pl_module.parameters()).data.fill_(float("nan"))

    with pytest.raises(
        TrainingLostError, match=r"the loss became nan at step 7; .*precision"
    ):
        train(out=str(tmp_path), workers=0, callbacks=[Explode()], **settings)
    kept = state(tmp_path)
    assert kept["global_step"] == 4
    assert all(value.isfinite().all() for value in kept["state_dict"].values())


def test_collapsed_embeddings_end_the_run(tmp_path, settings):
    class Collapse(pl.Callback):
        def setup(self, trainer, pl_module, stage):
            pl_module.projection_head = OnePoint()

    with pytest.raises(
        TrainingLostError, match=r"collapsed: their spread was 0\.0000 of 1 in 2"
    ):
        train(
            "simsiam",
            out=str(tmp_path),
            workers=0,
            callbacks=[Collapse()],
            **{**settings, "epochs": 5},
        )
    assert state(tmp_path)["global_step"] == 4  # saved before the second such epoch


class OnePoint(nn.Module):
    def __init__(self):
        super().__init__()
        self.point = nn.Parameter(torch.ones(128))

    def forward(self, features):
        return self.point + 0 * features.sum(dim=1, keepdim=True)


def test_the_spread_of_even_embeddings_is_one():
    logged = {}

    class Even(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.projection_head = nn.Identity()

        def log(self, name, value, **options):
            logged[name] = float(value)

    recipe = Even()
    TrainingHealth().on_fit_start(None, recipe)
    torch.manual_seed(0)
    recipe.projection_head(torch.randn(2000, 64))
    assert logged["embedding_std"] == pytest.approx(1.0, abs=0.02)
