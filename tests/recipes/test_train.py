import csv
import os
import signal
import subprocess
import sys
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
import yaml

from rkdo_plugin.plugins import create_encoder
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.evaluate import backbone_features, evaluate
from rkdo_plugin.recipes.train import train

# 3 epochs of 4 steps; seconds.
SETTINGS = {"epochs": 3, "limit": 256, "batch_size": 64, "progress": False}


def weights(checkpoint):
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def assert_same_run(folder, other):
    one, two = (
        torch.load(run / "last.ckpt", weights_only=True) for run in (folder, other)
    )
    assert one["global_step"] == two["global_step"] == 12
    for name, weight in one["state_dict"].items():
        assert torch.equal(weight, two["state_dict"][name]), name
    for states in zip(
        one["optimizer_states"][0]["state"].values(),
        two["optimizer_states"][0]["state"].values(),
        strict=True,
    ):
        for name in states[0]:
            assert torch.equal(states[0][name], states[1][name]), name
    assert one["lr_schedulers"] == two["lr_schedulers"]
    assert read_metrics(folder) == read_metrics(other)


def read_metrics(folder):
    with (folder / "metrics.csv").open() as file:
        return [(int(row["step"]), row["train_loss"]) for row in csv.DictReader(file)]


class CtrlC(pl.Callback):
    """Sends this process the signal of Ctrl-C during the step of a given number."""

    def __init__(self, step):
        self.step = step

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folders = {}
    for recipe in ("simclr", "byol"):
        folders[recipe] = tmp_path_factory.mktemp(recipe)
        train(recipe, out=str(folders[recipe]), workers=0, **SETTINGS)
    return folders


@pytest.mark.parametrize(
    ("recipe", "step", "workers", "resumed_workers"),
    [
        ("simclr", 0, 0, 0),  # after the very first step
        ("simclr", 5, 2, 2),  # within the second epoch
        ("simclr", 7, 0, 2),  # in the last step of an epoch
        ("byol", 9, 0, 0),
        ("simclr", 11, 0, 0),  # in the last step of the run
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    uninterrupted, tmp_path, recipe, step, workers, resumed_workers
):
    with pytest.raises(KeyboardInterrupt, match=f"stopped after step {step + 1} of 12"):
        train(
            recipe,
            out=str(tmp_path),
            workers=workers,
            callbacks=[CtrlC(step)],
            **SETTINGS,
        )
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == step + 1
    train(recipe, out=str(tmp_path), workers=resumed_workers, resume=True, **SETTINGS)
    assert_same_run(uninterrupted[recipe], tmp_path)


def test_interrupted_twice(uninterrupted, tmp_path):
    for step, resume in ((1, False), (6, True)):
        with pytest.raises(KeyboardInterrupt):
            train(
                out=str(tmp_path),
                workers=0,
                resume=resume,
                callbacks=[CtrlC(step)],
                **SETTINGS,
            )
    train(out=str(tmp_path), workers=0, resume=True, **SETTINGS)
    assert_same_run(uninterrupted["simclr"], tmp_path)


class Crash(pl.Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 6:
            raise RuntimeError("power cut")


def test_a_crash_resumes_from_the_last_epoch(uninterrupted, tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        train(out=str(tmp_path), workers=0, callbacks=[Crash()], **SETTINGS)
    train(out=str(tmp_path), workers=0, resume=True, **SETTINGS)
    assert_same_run(uninterrupted["simclr"], tmp_path)


SCRIPT = """
import sys
from rkdo_plugin.recipes.train import train
train(out=sys.argv[1], epochs=2000, batch_size=64, limit=256, workers=2, progress=False)
"""


def test_ctrl_c_in_a_terminal_reaches_workers_too(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path.parent,
        start_new_session=True,
    )
    try:
        while not (tmp_path / "last.ckpt").exists():
            assert process.poll() is None, process.stderr.read()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "KeyboardInterrupt: stopped after step" in errors
    assert process.returncode == -signal.SIGINT  # Python's way to end on Ctrl-C
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert f"stopped after step {saved['global_step']} of 8000" in errors


def test_run_folder(uninterrupted):
    folder = uninterrupted["simclr"]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["recipe"] == "simclr"
    assert config["epochs"] == 3
    assert read_metrics(folder)[-1][0] == 11
    assert list((folder / "tensorboard").glob("events.out.*"))
    saved = torch.load(folder / "last.ckpt", weights_only=True)
    digits = load_data("digits")
    assert saved["rkdo"] == {
        "recipe": "simclr",
        "encoder": "small-convnet",
        "in_channels": 1,
        "image_size": 28,
        "mean": list(digits.mean),
        "std": list(digits.std),
        "data": "digits",
    }


def test_the_seed_decides(uninterrupted, tmp_path):
    train(out=str(tmp_path / "same"), workers=2, **SETTINGS)
    assert_same_run(uninterrupted["simclr"], tmp_path / "same")
    train(out=str(tmp_path / "other"), workers=0, seed=1, **SETTINGS)
    other = weights(tmp_path / "other" / "last.ckpt")
    same = weights(tmp_path / "same" / "last.ckpt")
    name = "projection_head.layers.0.weight"
    assert not torch.equal(other[name], same[name])


def test_the_loss_decides(uninterrupted, tmp_path):
    train(out=str(tmp_path), loss_options={"temperature": 0.05}, workers=0, **SETTINGS)
    name = "backbone.layers.0.0.weight"
    one, other = (
        weights(folder / "last.ckpt")[name]
        for folder in (uninterrupted["simclr"], tmp_path)
    )
    assert not torch.equal(one, other)


def test_a_finished_run_stays_as_it_is(uninterrupted):
    folder = uninterrupted["simclr"]
    before = weights(folder / "last.ckpt"), read_metrics(folder)
    run = train(out=str(folder), workers=0, resume=True, **SETTINGS)
    after = weights(folder / "last.ckpt"), read_metrics(folder)
    assert before[1] == after[1]
    for name, weight in before[0].items():
        assert torch.equal(weight, after[0][name])
        assert torch.equal(weight, run.recipe.state_dict()[name])


def test_refuses_a_folder_that_holds_something(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="not empty"):
        train(out=str(tmp_path), **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 1), ("loss", "negative-cosine"), ("epochs", 4), ("recipe", "byol")],
)
def test_refuses_to_resume_with_another_setting(uninterrupted, key, value):
    settings = {**SETTINGS, key: value}
    with pytest.raises(ValueError, match=f"its '{key}' is .* but got {value!r}"):
        train(out=str(uninterrupted["simclr"]), resume=True, **settings)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        train(out=str(tmp_path / "none"), resume=True, **SETTINGS)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("keep", [0, 100, 100_000])
def test_truncated_checkpoint(uninterrupted, tmp_path, keep):
    for name in ("config.yaml", "last.ckpt"):
        content = (uninterrupted["simclr"] / name).read_bytes()
        (tmp_path / name).write_bytes(
            content if name == "config.yaml" else content[:keep]
        )
    with pytest.raises(ValueError, match=r"last\.ckpt is truncated or no checkpoint"):
        train(out=str(tmp_path), resume=True, **SETTINGS)


@pytest.mark.parametrize("batch_size", [0, 257])
def test_batch_that_does_not_fit(tmp_path, batch_size):
    settings = {**SETTINGS, "batch_size": batch_size}
    with pytest.raises(ValueError, match=f"from 1 to 256, .* but got {batch_size}"):
        train(out=str(tmp_path / "run"), **settings)
    assert not (tmp_path / "run").exists()


def test_training_improves_features(tmp_path):
    run = train(
        out=str(tmp_path),
        epochs=8,
        loss_options={"temperature": 0.2},
        progress=False,
    )
    untrained = create_encoder("small-convnet", in_channels=1)
    before, after = (
        evaluate(
            partial(backbone_features, backbone, mean=run.data.mean, std=run.data.std),
            run.data,
        )
        for backbone in (untrained, run.recipe.backbone)
    )
    # Untrained: about .85 and .94.
    assert after["knn"] > before["knn"] + 0.05
    assert after["linear"] > max(before["linear"], 0.95)


@pytest.mark.slow
def test_ten_epochs_of_fashion_mnist_reach_the_measured_accuracy(tmp_path):
    try:
        load_data("fashion-mnist")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    run = train(
        data="fashion-mnist",
        limit=10_000,
        out=str(tmp_path),
        loss_options={"temperature": 0.1},
        progress=False,
    )
    scores = evaluate(
        partial(
            backbone_features,
            run.recipe.backbone,
            mean=run.data.mean,
            std=run.data.std,
        ),
        run.data,
    )
    # Three seeds of an independent prototype: .8007 +- .0044.
    assert scores["knn"] > 0.79
