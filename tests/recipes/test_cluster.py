"""Clusters of frozen features."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from runs import assert_equal, train, weights
from sklearn.cluster import KMeans

from rkdo_plugin.cli.main import main
from rkdo_plugin.plugins.create import create_encoder, create_recipe
from rkdo_plugin.recipes.cluster import Scale
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.evaluation.clusters import agreement

SETTINGS = {"epochs": 2, "limit": 256, "batch_size": 64, "progress": False}


@pytest.fixture(scope="module")
def run(short_run):
    return short_run("cluster")


def test_the_same_settings_interrupted_give_the_same_weights(run, tmp_path):
    class Interrupt(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            if trainer.global_step == 5:
                next(
                    callback
                    for callback in trainer.callbacks
                    if hasattr(callback, "request_stop")
                ).stop_requested = True

    out = str(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train("cluster", out=out, workers=0, callbacks=[Interrupt()], **SETTINGS)
    train("cluster", out=out, workers=0, resume=True, **SETTINGS)
    assert_equal(weights(run), weights(tmp_path / "run"))


def test_features_stay_frozen_and_heads_learn():
    torch.manual_seed(0)
    encoder = create_encoder("small-convnet", in_channels=1)
    recipe = create_recipe("cluster", encoder=encoder, in_channels=1, image_size=28)
    recipe.train()
    assert not recipe.backbone.training
    assert recipe.heads.training
    before = {k: v.clone() for k, v in recipe.backbone.state_dict().items()}
    recipe.features(torch.rand(8, 1, 28, 28))
    for name, value in recipe.backbone.state_dict().items():
        assert torch.equal(value, before[name])
    trainable = {
        n.split(".")[0] for n, p in recipe.named_parameters() if p.requires_grad
    }
    assert trainable == {"heads"}


def test_the_head_of_the_least_loss_answers():
    torch.manual_seed(0)
    recipe = create_recipe(
        "cluster", in_channels=1, image_size=4, heads=3, clusters=5
    ).eval()
    images = torch.rand(6, 1, 4, 4)
    recipe.head_loss.copy_(torch.tensor([2.0, 1.0, 3.0]))
    expected = recipe.heads[1](recipe.scale(images.flatten(1)))
    torch.testing.assert_close(recipe(images), expected)


def test_evaluate_compares_with_k_means_and_draws(run, capsys):
    assert main(["evaluate", str(run), "--limit", "256"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["k-means", "clusters"]
    assert (run / "clusters.png").read_bytes().startswith(b"\x89PNG")
    # k-means as anyone would run it, on the same pixels.
    data = load_data("digits", limit=256)
    pixels, labels = as_arrays(data.train, data.image_size)
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    flat = (flat / 255 - data.mean[0]) / data.std[0]
    found = KMeans(10, n_init=10, random_state=0).fit_predict(flat)
    printed = float(lines[1].split()[1])
    assert printed == pytest.approx(agreement(labels, found)["accuracy"], abs=5e-5)


def test_a_collapse_is_said():
    recipe = create_recipe("cluster", in_channels=1, image_size=4, clusters=4)
    recipe.sizes.copy_(torch.tensor([0.97, 0.01, 0.01, 0.01]))
    with pytest.warns(
        UserWarning, match=r"collapsed: one of 4 holds 97% of the images"
    ):
        recipe.on_train_end()
    recipe.sizes.fill_(0.25)
    recipe.on_train_end()


@pytest.mark.parametrize("name", ["clusters", "heads", "hidden"])
def test_sizes_are_positive(name):
    with pytest.raises(ValueError, match=rf"`{name}` to be at least \d but got 0"):
        create_recipe("cluster", **{name: 0})


def test_one_cluster_is_refused():
    with pytest.raises(ValueError, match=r"`clusters` to be at least 2 but got 1"):
        create_recipe("cluster", clusters=1)


@pytest.mark.parametrize(
    ("field", "options", "message"),
    [
        ("one-hot", None, "stay as they start, with Cluster but got --field one-hot"),
        (None, {"coupling": 0.5}, "but got a coupling of 0.5"),
        (None, {"field_weight": "auto"}, "from 0 to 1 with Cluster, .* but got auto"),
    ],
)
def test_a_field_that_moves_or_is_judged_is_refused(field, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(
            "cluster",
            out=str(tmp_path / "run"),
            field=field,
            field_options=options,
            **SETTINGS,
        )
    assert not (tmp_path / "run").exists()


def test_features_are_scaled_by_one_number():
    generator = torch.manual_seed(0)
    features = torch.randn(3, 50, 4, generator=generator) * 7 + torch.arange(4) * 3
    scale = Scale(4)
    for batch in features:
        scale(batch)
    scaled = scale.eval()(features.flatten(0, 1))
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(4), rtol=0, atol=0.1)
    assert scaled.var() == pytest.approx(1, rel=0.05)
    ratio = features.flatten(0, 1).diff(dim=0) / scaled.diff(dim=0)
    torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio), rtol=1e-3, atol=0)


def test_more_clusters_than_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least `clusters` = 65 images but got 64"):
        train(
            "cluster",
            out=str(tmp_path / "run"),
            recipe_options={"clusters": 65},
            workers=0,
            **SETTINGS,
        )


def test_evaluate_reads_the_images_that_the_run_was_trained_on(run, capsys):
    assert main(["evaluate", str(run)]) == 0
    alone = capsys.readouterr().out
    assert main(["evaluate", str(run), "--limit", "256"]) == 0
    assert capsys.readouterr().out == alone
    assert main(["evaluate", str(run), "--pixels"]) == 1
    assert "no --pixels with a recipe" in capsys.readouterr().err


def test_views_of_batches_need_views(tmp_path, settings):
    with pytest.raises(ValueError, match="augmented views with augment='batches'"):
        train("cluster", out=str(tmp_path / "run"), augment="batches", **settings)
