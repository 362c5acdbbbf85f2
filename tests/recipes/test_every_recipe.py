"""What holds for every recipe: exact resume, precisions, losses, bad settings."""

import csv
import json
import os
import signal
import subprocess
import sys
import warnings

import pytest
import pytorch_lightning as pl
import torch
import yaml
from runs import train
from torch import nn

from rkdo_plugin import create_recipe
from rkdo_plugin.cli.main import main
from rkdo_plugin.export import freeze
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.data.labels import PartlyLabelled
from rkdo_plugin.recipes.evaluation.accuracy import knn_accuracy
from rkdo_plugin.recipes.evaluation.report import evaluation_report
from rkdo_plugin.recipes.evaluation.trained import load_trained
from rkdo_plugin.recipes.training.health import TrainingHealth, TrainingLostError

RECIPES = {
    "simclr": {},
    "byol": {},
    "moco": {"loss_options": {"memory_bank_size": (100, 128)}},  # no multiple of 64
    "simsiam": {},
    "nnclr": {"recipe_options": {"queue": 150}},
    "vicreg": {},
    "barlowtwins": {},
    "supcon": {},
    "dino": {"recipe_options": {"prototypes": 40, "local_views": 1}},
    "mean_teacher": {"recipe_options": {"labelled": 0.3}},
    "temporal_ensembling": {"recipe_options": {"labelled": 0.3}},
}
CASES = {
    **{name: {"recipe": name, **options} for name, options in RECIPES.items()},
    "batches": {"recipe": "simclr", "augment": "batches"},
    "batches-dino": {"recipe": "dino", "augment": "batches", **RECIPES["dino"]},
    "batches-field": {"recipe": "byol", "augment": "batches", "field": "pixels"},
    "accumulate": {"recipe": "byol", "accumulate": 2},
    "supcon-field": {"recipe": "supcon", "field": "pixels"},
    "ensembling-field": {
        "recipe": "temporal_ensembling",
        "field": "one-hot",
        "field_options": {"warmup_epochs": 1},
        **RECIPES["temporal_ensembling"],
    },
    "bf16": {"recipe": "simclr", "precision": "bf16-mixed"},
    "sgd": {"recipe": "simclr", "recipe_options": {"optimizer": "sgd"}},
    "lars": {"recipe": "simclr", "recipe_options": {"optimizer": "lars"}},
}


class Stop(pl.Callback):
    """Asks for a stop, as Ctrl-C does, in a batch of a given number."""

    def __init__(self, batch):
        self.batch = batch
        self.seen = 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.seen == self.batch:
            os.kill(os.getpid(), signal.SIGINT)
        self.seen += 1


def assert_equal(one, other, path=""):
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_equal(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{path}.{number}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    else:
        assert one == other, path


def state(folder):
    saved = torch.load(folder / "last.ckpt", weights_only=True)
    names = ("state_dict", "optimizer_states", "lr_schedulers", "global_step")
    return {name: saved[name] for name in names}


@pytest.mark.parametrize("name", CASES)
def test_interrupted_and_resumed_equals_uninterrupted(name, tmp_path, settings):
    run = {**settings, **CASES[name], "epochs": 2, "workers": 0}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(out=str(whole), **run)
    with pytest.raises(KeyboardInterrupt):
        # Where two batches make a step, that of the second one ends first.
        train(out=str(stopped), callbacks=[Stop(4)], **run)
    assert state(stopped)["global_step"] < state(whole)["global_step"]
    train(out=str(stopped), resume=True, **run)
    assert_equal(state(stopped), state(whole))
    assert (stopped / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_in_bfloat16(name, tmp_path, settings):
    run = {**settings, **RECIPES[name], "epochs": 1, "limit": 192}
    train(name, out=str(tmp_path), workers=0, precision="bf16-mixed", **run)
    for key, value in state(tmp_path)["state_dict"].items():
        assert value.isfinite().all(), key


@pytest.mark.parametrize("loss", ["icon", "rkdo", "vicreg", "barlowtwins"])
@pytest.mark.parametrize("name", [name for name in RECIPES if name != "dino"])
def test_two_tensor_recipes_take_any_two_tensor_loss(name, loss, tmp_path, settings):
    options = {k: v for k, v in RECIPES[name].items() if k != "loss_options"}
    run = {**settings, **options, "epochs": 1, "limit": 128}
    done = train(name, loss, out=str(tmp_path), workers=0, **run)
    assert type(done.recipe.criterion) is type(create_recipe(name, loss=loss).criterion)
    assert state(tmp_path)["global_step"] > 0


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_exported_is_the_encoder_to_use(name, tmp_path, settings):
    run = {**settings, **RECIPES[name], "epochs": 1, "limit": 128}
    done = train(name, out=str(tmp_path), workers=0, **run)
    teacher = name in ("dino", "mean_teacher")
    branch = "teacher_backbone" if teacher else "backbone"
    expected = getattr(done.recipe, branch)
    assert done.recipe.backbone is expected
    frozen = freeze(done.checkpoint).backbone.state_dict()
    assert_equal(dict(frozen), dict(expected.state_dict()))


def test_dino_refuses_a_loss_of_two_tensors(tmp_path, settings):
    with pytest.raises(
        TypeError, match=r"lists of views.* but got NTXentLoss\.forward"
    ):
        train("dino", "ntxent", out=str(tmp_path / "run"), **settings)
    assert not (tmp_path / "run").exists()


def test_a_two_tensor_recipe_refuses_a_loss_of_lists(tmp_path, settings):
    with pytest.raises(TypeError, match=r"two tensors with SimCLR but got DINOLoss"):
        train("simclr", "dino", out=str(tmp_path / "run"), **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("labelled", [0.0, -0.1, 1.5])
@pytest.mark.parametrize("name", ["mean_teacher", "temporal_ensembling"])
def test_a_share_of_labels_that_is_none(name, labelled, tmp_path, settings):
    options = {"recipe_options": {"labelled": labelled}}
    with pytest.raises(ValueError, match=rf"`labelled` .* \(0, 1\] but got {labelled}"):
        train(name, out=str(tmp_path / "run"), **settings, **options)
    assert not (tmp_path / "run").exists()


def test_labels_that_leave_a_class_without():
    images = load_data("digits").train
    with pytest.raises(ValueError, match=r"each of 10 classes but 0\.005 of 1437"):
        PartlyLabelled(images, 0.005, seed=0)


def test_labels_are_hidden_evenly_by_the_seed():
    images = load_data("digits").train
    some = PartlyLabelled(images, 0.1, seed=3)
    kept = [some[index][1] for index in range(len(some))]
    assert sum(label >= 0 for label in kept) == len(some.labelled) == 143
    assert all(kept[i] == images[i][1] for i in some.labelled)
    counts = torch.tensor([kept[i] for i in some.labelled]).bincount()
    assert counts.min() >= 13
    again, other = (PartlyLabelled(images, 0.1, seed=s).labelled for s in (3, 4))
    assert (again == some.labelled).all()
    assert not (other == some.labelled).all()
    assert PartlyLabelled(images, 1.0, seed=0)[5] == images[5]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("recipe", "moco"),
        ("loss", "icon"),
        ("encoder", "wide-convnet"),
        ("augment", "batches"),
        ("accumulate", 2),
        ("recipe_options", {"optimizer": "sgd"}),
    ],
)
def test_refuses_to_resume_with_another_setting(uninterrupted, key, value, settings):
    folder = uninterrupted["byol"]
    before = (folder / "last.ckpt").read_bytes()
    changed = {"recipe": "byol", **settings, key: value}
    with pytest.raises(ValueError, match=f"its '{key}' is"):
        train(out=str(folder), resume=True, **changed)
    assert (folder / "last.ckpt").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nnclr", {"queue": 0}, "`queue` to be a positive integer but got 0"),
        ("dino", {"prototypes": 0}, "`prototypes`"),
        ("dino", {"local_views": -1}, "`local_views` to be at least 0 but got -1"),
        ("mean_teacher", {"momentum": 1.0}, r"`momentum` .* \[0, 1\) but got 1.0"),
        ("temporal_ensembling", {"momentum": 1.0}, r"`momentum` .* but got 1.0"),
        ("mean_teacher", {"consistency": -1.0}, "`consistency` .* got -1.0"),
        ("simclr", {"optimizer": "adam"}, "`optimizer` to be one of .* got 'adam'"),
    ],
)
def test_options_outside_their_range(name, options, message, tmp_path, settings):
    with pytest.raises(ValueError, match=message):
        train(
            name,
            out=str(tmp_path / "run"),
            workers=0,
            recipe_options=options,
            **settings,
        )


KILLED = """
import json, os, signal, sys
import pytorch_lightning as pl
from rkdo_plugin.recipes.training.settings import Execution, RunSettings
from rkdo_plugin.recipes.training.train import train

class Kill(pl.Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 7:
            os.kill(os.getpid(), signal.SIGKILL)

settings = RunSettings(**json.loads(sys.argv[2]))
execution = Execution(workers=0, checkpoint_every=2, progress=False)
train(settings, sys.argv[1], execution, callbacks=[Kill()])
"""


def test_killed_mid_epoch_loses_no_more_than_the_steps_since(
    uninterrupted, tmp_path, settings
):
    run = {k: v for k, v in settings.items() if k != "progress"}
    command = [sys.executable, "-c", KILLED, str(tmp_path), json.dumps(run)]
    killed = subprocess.run(command, capture_output=True, cwd=tmp_path.parent)
    assert killed.returncode == -signal.SIGKILL
    assert state(tmp_path)["global_step"] == 6  # of 4 an epoch
    train(out=str(tmp_path), resume=True, workers=0, **run)
    assert_equal(state(tmp_path), state(uninterrupted["simclr"]))
    assert_same_losses(tmp_path, uninterrupted["simclr"])


def assert_same_losses(folder, other):
    losses = []
    for run in (folder, other):
        with (run / "metrics.csv").open() as file:
            losses.append([(r["step"], r["train_loss"]) for r in csv.DictReader(file)])
    assert losses[0] == losses[1]


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


def test_nearest_neighbours_on_the_way_change_nothing(
    tmp_path, uninterrupted, settings
):
    run = train(out=str(tmp_path), workers=0, knn_every=2, projector=True, **settings)
    assert_equal(state(tmp_path), state(uninterrupted["simclr"]))
    with (tmp_path / "metrics.csv").open() as file:
        logged = [row["knn"] for row in csv.DictReader(file) if row["knn"]]
    assert len(logged) == 1  # after the second of three epochs
    embed = freeze(run.checkpoint).embed
    images, labels = as_arrays(run.data.test, 28)
    (tensors,) = (tmp_path / "tensorboard").rglob("tensors.tsv")
    shown = [line.split("\t") for line in tensors.read_text().splitlines()]
    expected = embed(images)[: len(shown)]
    torch.testing.assert_close(
        torch.tensor([[float(x) for x in row] for row in shown]),
        torch.from_numpy(expected),
        atol=1e-5,
        rtol=0,
    )
    assert 0.5 < float(logged[0]) <= 1
    assert knn_accuracy(expected, labels[: len(expected)], expected, labels) > 0


def test_classifiers_are_reported(tmp_path, settings):
    options = {"recipe_options": {"labelled": 0.5}, "epochs": 4}
    run = train("mean_teacher", out=str(tmp_path), workers=0, **(settings | options))
    report = evaluation_report(load_trained(tmp_path), None, None, None)
    lines = report.splitlines()
    assert [line.split()[0] for line in lines] == ["teacher", "student", "features"]
    images, labels = as_arrays(run.data.test, 28)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    pixels = (pixels - run.data.mean[0]) / run.data.std[0]
    with torch.no_grad():
        said = run.recipe.eval()(pixels).argmax(dim=1).numpy()
    assert float(lines[1].split()[-1]) == pytest.approx(
        (said == labels).mean(), abs=1e-4
    )


def test_a_file_of_settings_and_what_is_said_beside_it(tmp_path, capsys):
    config = tmp_path / "mine.yaml"
    config.write_text(
        "recipe: byol\nloss: icon\nloss_options: {temperature: 0.3}\nepochs: 1\n"
        "limit: 128\nbatch_size: 64\nworkers: 0\nrecipe_options: {optimizer: sgd}\n"
    )
    words = f"train --config {config} --loss.debias 0.1 --seed 4 --out {tmp_path}/run"
    assert main(words.split()) == 0
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["recipe"] == "byol"
    assert saved["recipe_options"] == {"optimizer": "sgd"}
    assert saved["loss_options"]["temperature"] == 0.3
    assert saved["loss_options"]["debias"] == 0.1
    assert (saved["seed"], saved["limit"]) == (4, 128)
    # A run's own file trains the same again.
    words = f"train --config {tmp_path}/run/config.yaml --out {tmp_path}/again"
    assert main(words.split()) == 0
    assert_equal(state(tmp_path / "again"), state(tmp_path / "run"))
    config.write_text("learning_rte: 0.1\n")
    assert main(f"train --config {config}".split()) == 1
    assert "options of train" in capsys.readouterr().err
    assert main(f"train --config {tmp_path}/none.yaml".split()) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [("precision", "8"), ("strategy", "dpp"), ("augment", "gpu"), ("accumulate", 0)],
)
def test_what_lightning_cannot_do_leaves_no_folder(key, value, tmp_path, settings):
    with pytest.raises(ValueError, match=str(value)):
        train(out=str(tmp_path / "run"), **settings, **{key: value})
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_sync_batchnorm_needs_gpus(tmp_path, settings):
    with pytest.raises(ValueError, match="GPUs with sync_batchnorm but got none"):
        train(out=str(tmp_path / "run"), sync_batchnorm=True, **settings)


def test_views_of_batches_need_views(tmp_path, settings):
    with pytest.raises(ValueError, match="augmented views with augment='batches'"):
        train("cluster", out=str(tmp_path / "run"), augment="batches", **settings)


@pytest.mark.parametrize(
    ("name", "size", "dim"),
    [
        ("resnet18-small", 32, 512),
        ("resnet50-small", 28, 2048),
        ("torchvision:mobilenet_v3_small", 64, 1024),
        ("torchvision:convnext_tiny", 64, 768),
        ("torchvision:swin_t", 64, 768),
        ("masked-vit:vit_tiny_patch16_224", 224, 192),
    ],
)
def test_encoders_by_name(name, size, dim):
    from rkdo_plugin import create_encoder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoder = create_encoder(name).eval()
    assert encoder(torch.zeros(1, 3, size, size)).flatten(1).shape == (1, dim)


def test_torchvisions_networks_read_three_channels():
    with pytest.raises(ValueError, match=r"3 channels .* but got 1"):
        create_recipe("simclr", encoder="torchvision:swin_t", in_channels=1)
