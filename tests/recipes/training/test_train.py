import csv
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from photographs import random_folder
from PIL import Image
from published_weights import publish_timm, without_network
from runs import CtrlC, assert_equal, saved, state, train, weights

from rkdo_plugin.export import Encoder, freeze
from rkdo_plugin.plugins.create import create_encoder
from rkdo_plugin.plugins.host import host
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.evaluation.accuracy import evaluate


def test_run_folder(uninterrupted):
    folder = uninterrupted["simclr"]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["recipe"] == "simclr"
    assert config["epochs"] == 3
    with (folder / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3", "7", "11"]
    assert list((folder / "tensorboard").glob("events.out.*"))
    digits = load_data("digits")
    assert saved(folder)["rkdo"] == {
        "recipe": "simclr",
        "settings": {
            "encoder": "small-convnet",
            "loss": "ntxent",
            "loss_options": None,
            "in_channels": 1,
            "image_size": 28,
            "num_classes": 10,
            "num_samples": 256,
            "optimizer": "adamw",
            "learning_rate": 4e-3,
            "weight_decay": 0.01,
        },
        "encoder": "small-convnet",
        "normalize": True,
        "in_channels": 1,
        "image_size": 28,
        "mean": list(digits.mean),
        "std": list(digits.std),
        "data": "digits",
        "limit": 256,
        "seed": 0,
    }


def test_the_loss_decides(uninterrupted, tmp_path, settings):
    train(out=str(tmp_path), loss_options={"temperature": 0.05}, workers=0, **settings)
    name = "backbone.layers.0.0.weight"
    one, other = (
        weights(folder)[name] for folder in (uninterrupted["simclr"], tmp_path)
    )
    assert not torch.equal(one, other)


def test_training_improves_features(tmp_path):
    run = train(
        out=str(tmp_path),
        epochs=8,
        loss_options={"temperature": 0.2},
        progress=False,
    )
    untrained = Encoder(
        create_encoder("small-convnet", in_channels=1),
        image_size=run.data.image_size,
        mean=run.data.mean,
        std=run.data.std,
    )
    before, after = (
        evaluate(encoder.embed, run.data)
        for encoder in (untrained, freeze(run.checkpoint))
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
        augment="batches",
        progress=False,
    )
    scores = evaluate(freeze(run.checkpoint).embed, run.data)
    # Three seeds of an independent prototype: .8007 +- .0044.
    assert scores["knn"] > 0.79


def test_a_finished_run_stays_as_it_is(uninterrupted, settings):
    folder = uninterrupted["simclr"]
    before = weights(folder), (folder / "metrics.csv").read_text()
    run = train(out=str(folder), workers=0, resume=True, **settings)
    assert run.steps == 0
    after = weights(folder), (folder / "metrics.csv").read_text()
    assert before[1] == after[1]
    for name, weight in before[0].items():
        assert torch.equal(weight, after[0][name])
        assert torch.equal(weight, run.recipe.state_dict()[name])


@pytest.mark.parametrize(
    ("key", "value"),
    [("precision", "8"), ("strategy", "dpp"), ("augment", "gpu"), ("accumulate", 0)],
)
def test_what_lightning_cannot_do_leaves_no_folder(key, value, tmp_path, settings):
    with pytest.raises(ValueError, match=str(value)):
        train(out=str(tmp_path / "run"), **settings, **{key: value})
    assert not (tmp_path / "run").exists()


def test_a_batch_larger_than_the_data_says_which_images_and_which_size_fits(tmp_path):
    (tmp_path / "photos").mkdir()
    folder = random_folder(tmp_path / "photos" / "a", 10, (8, 8, 3))
    message = (
        "at most 8, the number of training images in .*photos \\(2 others are for "
        "testing\\), but got 256; `batch_size` 4 fits"
    )
    with pytest.raises(ValueError, match=message):
        train(data=str(folder.parent), out=str(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"at most 10, .*a, but got .* 4 fits"):
        train(data=str(folder), out=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_first_step_that_fails_leaves_no_folder(tmp_path):
    run = {"out": str(tmp_path / "run"), "limit": 4, "epochs": 1, "workers": 0}
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        train(batch_size=1, loss="negative-cosine", **run)
    assert not (tmp_path / "run").exists()
    assert train(batch_size=2, **run).checkpoint.is_file()


@pytest.mark.parametrize("loss", sorted(host().contributions("loss")))
def test_every_loss_trains_a_step_of_simclr_or_leaves_no_folder(loss, tmp_path):
    options = {"over": "supcon"} if loss == "rkdo-over" else None
    size = {"limit": 64, "batch_size": 64, "epochs": 1, "augment": "batches"}
    run = {"out": str(tmp_path / "run"), "loss_options": options, "workers": 0} | size
    try:
        assert train(loss=loss, **run).steps == 1
    except (TypeError, ValueError) as error:
        assert re.search("classes|features|metadata|two tensors", str(error))
        assert not (tmp_path / "run").exists()


def test_a_loss_that_reads_labels_needs_images_with_classes(tmp_path):
    for number in range(4):
        gray = Image.fromarray(np.full((28, 28), 60 * number, np.uint8))
        gray.save(tmp_path / f"{number}.png")
    run = {"data": str(tmp_path), "out": str(tmp_path / "run"), "batch_size": 4}
    with pytest.raises(ValueError, match="images with classes for loss 'supcon'"):
        train("supcon", **run)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_sync_batchnorm_needs_gpus(tmp_path, settings):
    with pytest.raises(ValueError, match="GPUs with sync_batchnorm but got none"):
        train(out=str(tmp_path / "run"), sync_batchnorm=True, **settings)


def test_a_run_started_from_another_runs_weights_resumes_without_them(
    uninterrupted, tmp_path, settings
):
    start = tmp_path / "start"
    start.mkdir()
    checkpoint = saved(uninterrupted["simclr"])
    checkpoint["rkdo"]["mean"] = [0.7]  # another than the data's
    torch.save(checkpoint, start / "last.ckpt")
    options = {"data": "digits", "weights": str(start), "workers": 0, **settings}
    whole = train("byol", out=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        train("byol", out=tmp_path / "part", callbacks=[CtrlC(5)], **options)
    shutil.rmtree(start)
    train("byol", out=tmp_path / "part", resume=True, **options)
    assert_equal(state(tmp_path / "part"), state(whole.folder))
    assert saved(whole.folder)["rkdo"]["mean"] == [0.7]
    config = yaml.safe_load((tmp_path / "part" / "config.yaml").read_text())
    assert config["weights"] == str(start)


def test_a_pretrained_encoder_goes_on_with_its_own_normalisation(tmp_path, monkeypatch):
    pytest.importorskip("timm")
    publish_timm(tmp_path / "cache", monkeypatch, "vit_tiny_patch16_224")
    run = train(
        out=tmp_path / "run",
        data=str(random_folder(tmp_path / "images", 4, (224, 224, 3))),
        encoder="timm:vit_tiny_patch16_224",
        pretrained=True,
        batch_size=2,
        epochs=1,
        workers=0,
    )
    assert saved(run.folder)["rkdo"]["mean"] == [0.5] * 3  # the folder's are ImageNet's
    without_network(tmp_path / "empty", monkeypatch)
    encoder = freeze(run.checkpoint)
    assert encoder.std.tolist() == [0.5] * 3
    assert_equal(
        {f"backbone.{k}": v for k, v in encoder.backbone.state_dict().items()},
        {k: v for k, v in weights(run.folder).items() if k.startswith("backbone.")},
    )
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert config["pretrained"] is True
