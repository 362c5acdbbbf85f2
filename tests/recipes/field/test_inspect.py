"""Figures of a run's field."""

import math
import shutil

import numpy as np
import pytest
import torch
from oracles import knn_classifier
from PIL import Image
from runs import saved
from sklearn.neighbors import NearestNeighbors

from rkdo_plugin.field.trust import trust_of
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.field.inspect import inspect_field, load_run_field


@pytest.fixture(scope="module")
def pixels(run_with_field):
    return run_with_field("pixels", epochs=2, teacher_temperature=0.1)


@pytest.fixture(scope="module")
def one_hot(run_with_field):
    return run_with_field("one-hot", epochs=1, neighbors=5)


def digits(part, count):
    """Pixels, centred as the 200 training images, and classes."""
    data = load_data("digits", limit=200)
    center = np.mean([np.asarray(data.train[i][0]).ravel() for i in range(200)], axis=0)
    items = [getattr(data, part)[i] for i in range(count)]
    features = np.float64([np.asarray(image).ravel() for image, _ in items]) - center
    return features, np.array([label for _, label in items])


def test_figures_of_a_given_graph_are_scikit_learns(pixels):
    report = inspect_field(load_run_field(pixels))
    features, labels = digits("train", 200)
    near = NearestNeighbors(n_neighbors=8, metric="cosine", algorithm="brute")
    distances, ids = near.fit(features).kneighbors()  # of others only
    weights = np.exp((1 - distances) / 0.1)
    weights /= weights.sum(axis=1, keepdims=True)
    same = labels[ids] == labels[:, None]
    assert report.field == report.p0  # coupling 0: p_0 as it was
    assert report.moved == pytest.approx(0, abs=1e-5)
    assert report.field.purity == pytest.approx((weights * same).sum() / 200, abs=1e-4)
    assert report.field.nearest == pytest.approx(same[:, 0].mean(), abs=0.006)
    entropy = -(weights * np.log(weights)).sum(axis=1).mean()
    assert report.row_entropy == pytest.approx(entropy, abs=1e-4)
    assert report.spread == pytest.approx(math.exp(entropy), abs=1e-3)
    assert report.self_mass == 0
    back = [[i in ids[j] for j in row] for i, row in enumerate(ids)]
    assert report.returned == pytest.approx(np.mean(back))
    assert report.trust == trust_of(report.likeness, report.returned)
    assert f"trust         {report.trust:.3f}, from a likeness of" in str(report)
    classifier = knn_classifier().fit(features, labels)
    expected = classifier.score(*digits("test", 360))
    assert report.p0_knn == pytest.approx(expected, abs=1 / 360)
    assert report.test_images == 360


def test_figures_of_a_field_from_one_hot(one_hot):
    loaded = load_run_field(one_hot)
    report = inspect_field(loaded)
    callbacks = saved(one_hot)["callbacks"].values()
    (state,) = [s for s in callbacks if "field" in s]
    valid = state["field"]["valid"]
    assert report.valid == pytest.approx(valid.float().mean().item())
    assert report.valid == pytest.approx(192 / 200)  # three batches of 64
    assert report.self_mass == pytest.approx(state["field"]["self_mass"].mean().item())
    assert 0 < report.self_mass < 1
    assert report.moved == pytest.approx(1 - report.self_mass, abs=1e-5)
    assert report.p0 is None
    assert report.p0_knn is None
    assert report.trust == 0
    text = str(report)
    assert "digits: field of 200 training images, p_0 from one-hot" in text
    assert f"self mass     {report.self_mass:.3f}" in text
    assert f"field         {report.field.purity:.4f}" in text


def test_the_start_is_left_out_when_asked(pixels):
    report = inspect_field(load_run_field(pixels), start=False)
    assert (report.moved, report.p0, report.p0_knn) == (None, None, None)
    assert "p_0  " not in str(report)
    assert report.field == inspect_field(load_run_field(pixels)).field


def test_the_rows_of_a_log_linear_run_are_read(run_with_field):
    run = run_with_field("pixels", epochs=1, mixture="log-linear", coupling=0.5)
    field = load_run_field(run).field
    (state,) = [s for s in saved(run)["callbacks"].values() if "field" in s]
    assert field.mixture == "log_linear"
    for name in ("ids", "weights", "prior", "prior_share"):
        assert torch.equal(getattr(field, name), state["field"][name]), name
    assert 0 < field.prior_share.min() < 1


def copied(folder, target, **settings):
    """A run folder with other settings in its config."""
    shutil.copytree(folder, target)
    config = (target / "config.yaml").read_text()
    for name, value in settings.items():
        lines = [
            f"{name}: {value}" if line.startswith(f"{name}:") else line
            for line in config.splitlines()
        ]
        config = "\n".join(lines)
    (target / "config.yaml").write_text(config)
    return target


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run folder but .* has no last\.ckpt"):
        load_run_field(tmp_path)


def test_a_run_without_a_field_is_refused(uninterrupted):
    with pytest.raises(ValueError, match=r"with a response field .* --field one-hot"):
        load_run_field(uninterrupted["simclr"])


def test_images_that_are_not_those_of_the_run_are_refused(pixels, tmp_path):
    with pytest.raises(ValueError, match="150 samples"):
        load_run_field(copied(pixels, tmp_path / "fewer", limit=150))
    images = tmp_path / "images"
    images.mkdir()
    for number in range(200):
        Image.new("L", (28, 28), number).save(images / f"{number:03}.png")
    with pytest.raises(ValueError, match="replaced or reordered"):
        load_run_field(copied(pixels, tmp_path / "other", data=images))
    with pytest.raises(FileNotFoundError, match="no intact"):
        load_run_field(
            copied(pixels, tmp_path / "missing", data="stl10"), root=str(tmp_path)
        )


def test_a_start_that_is_no_more_is_refused(pixels, tmp_path):
    run = copied(pixels, tmp_path / "run", field=tmp_path / "gone.onnx")
    with pytest.raises(ValueError, match=r"gone\.onnx"):
        inspect_field(load_run_field(run))
    assert inspect_field(load_run_field(run), start=False).p0 is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ids", None),
        ("ids", torch.zeros(3)),
        ("valid", [0]),
        ("_extra_state", "x"),
        ("embeddings", torch.zeros(200)),
        ("self_mass", torch.full((200,), math.nan)),
        ("self_mass", torch.full((200,), -1.0)),
    ],
)
def test_a_damaged_field_is_refused(one_hot, tmp_path, name, value):
    for file in ("config.yaml", "last.ckpt"):
        shutil.copy(one_hot / file, tmp_path)
    checkpoint = saved(tmp_path)
    (key,) = (key for key in checkpoint["callbacks"] if key.startswith("FieldCallback"))
    checkpoint["callbacks"][key]["field"][name] = value
    torch.save(checkpoint, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"a whole field in .*last\.ckpt but got"):
        load_run_field(tmp_path)
