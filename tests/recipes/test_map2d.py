"""Maps: networks that put images at places in the plane."""

import numpy as np
import pytest
import torch
from runs import assert_equal, train, weights
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from rkdo_plugin import create_loss, create_recipe
from rkdo_plugin.cli.main import main
from rkdo_plugin.export import (
    EmbeddingSession,
    Encoder,
    ParityError,
    export_onnx,
    freeze,
)
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.evaluation.trained import load_trained
from rkdo_plugin.recipes.map2d import map_accuracy

SETTINGS = {"epochs": 2, "limit": 256, "batch_size": 64, "progress": False}


@pytest.fixture(scope="module")
def run(short_run):
    return short_run("map2d")


def views(rows=40):
    return torch.randn(2, rows, 1, 28, 28, generator=torch.manual_seed(0)).unbind()


def test_t_sne_reads_the_features_of_the_images_as_they_are():
    torch.manual_seed(0)
    recipe = create_recipe(
        "map2d", in_channels=1, image_size=28, loss_options={"perplexity": 5.0}
    )
    recipe.log = lambda *args, **kwargs: None
    assert not recipe.augmented
    view0, view1 = views()
    loss = recipe.training_step([[view0, view1], None], 0)
    expected = create_loss("t-sne", perplexity=5.0)(
        recipe(view0), targets=view0.flatten(1)
    )
    torch.testing.assert_close(loss, expected)


def test_a_loss_of_pairs_reads_two_augmented_views():
    torch.manual_seed(0)
    recipe = create_recipe("map2d", in_channels=1, image_size=28, loss="t-simclr")
    recipe.log = lambda *args, **kwargs: None
    assert recipe.augmented
    view0, view1 = views()
    loss = recipe.training_step([[view0, view1], None], 0)
    expected = create_loss("t-simclr")(recipe(view0), recipe(view1))
    torch.testing.assert_close(loss, expected)


def test_accuracy_in_the_plane_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 60)
    places = generator.normal(size=(60, 2)) + labels[:, None]
    expected = cross_val_score(
        KNeighborsClassifier(10), places, labels, cv=LeaveOneOut()
    ).mean()
    assert map_accuracy(places, labels) == pytest.approx(expected)
    classifier = KNeighborsClassifier(10).fit(places[:40], labels[:40])
    expected = classifier.score(places[40:], labels[40:])
    found = map_accuracy(places[:40], labels[:40], places[40:], labels[40:])
    assert found == pytest.approx(expected)


def test_a_map_goes_to_onnx_place_by_place(run, tmp_path, capsys):
    path = tmp_path / "map.onnx"
    assert main(["export", str(run), str(path), "--data", "digits"]) == 0
    assert "norm" not in capsys.readouterr().out
    data = load_data("digits", limit=50)
    images, _ = as_arrays(data.train, data.image_size)
    places = load_trained(run).recipe.places(images, data)
    session = EmbeddingSession(path)
    np.testing.assert_allclose(session.embed(images), places, rtol=1e-4, atol=1e-4)
    assert session.metadata["rkdo.normalize"] == "false"
    assert np.abs(np.linalg.norm(places, axis=1) - 1).max() > 0.01


def test_evaluate_draws_the_map(run, capsys):
    assert main(["evaluate", str(run), "--limit", "128"]) == 0
    out = capsys.readouterr().out
    assert "10 nearest neighbours in the plane: 0." in out
    assert (run / "map.png").read_bytes().startswith(b"\x89PNG")


def test_features_of_a_trained_run_are_frozen(uninterrupted):
    recipe = create_recipe(
        "map2d", in_channels=1, image_size=28, features=f"run:{uninterrupted['simclr']}"
    )
    recipe.train()
    assert not recipe.features.training
    assert not any(p.requires_grad for p in recipe.features.parameters())
    assert all(p.requires_grad for p in recipe.backbone.parameters())


def test_a_second_run_has_the_same_weights(run, tmp_path):
    train("map2d", out=str(tmp_path / "again"), workers=0, **SETTINGS)
    assert_equal(weights(run), weights(tmp_path / "again"))


class Places(torch.nn.Module):
    """Two sums of pixels, far from the origin."""

    def __init__(self, far=1000.0):
        super().__init__()
        self.far = far

    def forward(self, images):
        flat = images.flatten(1)
        return torch.stack([flat.sum(1), flat[:, 0]], dim=1) * self.far


def test_an_encoder_that_does_not_normalise_keeps_its_features():
    plain = Encoder(Places(), image_size=4, mean=[0.5], std=[0.5], normalize=False)
    images = torch.randint(0, 256, (3, 4, 4, 1)).byte()
    pixels = (images.float() / 255 - 0.5) / 0.5
    torch.testing.assert_close(plain(images), Places()(pixels.permute(0, 3, 1, 2)))


def test_the_gate_is_relative_to_the_size_of_a_map(tmp_path):
    encoder = Encoder(Places(), image_size=4, mean=[0.5], std=[0.5], normalize=False)
    report = export_onnx(encoder, tmp_path / "far.onnx")
    assert report.scale > 1000
    assert np.isnan(report.max_norm_error)
    assert "norm" not in str(report)


def test_a_map_that_is_not_what_it_was_is_refused(tmp_path):
    class Noisy(Places):
        def forward(self, images):
            # Exported as it is computed once: another place at another batch size.
            return super().forward(images) + float(len(images)) * self.far

    encoder = Encoder(Noisy(), image_size=4, mean=[0.5], std=[0.5], normalize=False)
    with pytest.raises((ParityError, RuntimeError, ValueError)):
        export_onnx(encoder, tmp_path / "noisy.onnx")
    assert not (tmp_path / "noisy.onnx").exists()


def test_freeze_reads_whether_to_normalise(run):
    assert freeze(run / "last.ckpt").normalize is False
    assert freeze(run / "last.ckpt", normalize=True).normalize is True
