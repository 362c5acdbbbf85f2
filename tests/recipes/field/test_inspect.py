"""Figures and picture of a run's field."""

import math
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from runs import train
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from rkdo_plugin.field import ResponseField
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.field.inspect import inspect_field, load_run_field
from rkdo_plugin.recipes.pictures.field import choose_samples, draw_field

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def trained(folder, start, epochs, **options):
    """The folder of a run on the first 200 digits, with a field."""
    run = train(
        loss="icon",
        out=str(folder),
        epochs=epochs,
        limit=200,
        batch_size=64,
        workers=0,
        progress=False,
        field=start,
        field_options=options,
    )
    return run.folder


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels")
    return trained(folder, "pixels", epochs=2, teacher_temperature=0.1)


@pytest.fixture(scope="module")
def one_hot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one-hot")
    return trained(folder, "one-hot", epochs=1, neighbors=5)


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
    classifier = KNeighborsClassifier(
        20,
        metric="cosine",
        algorithm="brute",
        weights=lambda distance: np.exp((1 - distance) / 0.1),
    ).fit(features, labels)
    expected = classifier.score(*digits("test", 360))
    assert report.p0_knn == pytest.approx(expected, abs=1 / 360)
    assert report.test_images == 360


def test_figures_of_a_field_from_one_hot(one_hot):
    loaded = load_run_field(one_hot)
    report = inspect_field(loaded)
    saved = torch.load(one_hot / "last.ckpt", weights_only=True)
    (state,) = [s for s in saved["callbacks"].values() if "field" in s]
    valid = state["field"]["valid"]
    assert report.valid == pytest.approx(valid.float().mean().item())
    assert report.valid == pytest.approx(192 / 200)  # three batches of 64
    assert report.self_mass == pytest.approx(state["field"]["self_mass"].mean().item())
    assert 0 < report.self_mass < 1
    assert report.moved == pytest.approx(1 - report.self_mass, abs=1e-5)
    assert report.p0 is None
    assert report.p0_knn is None
    text = str(report)
    assert "digits: field of 200 training images, p_0 from one-hot" in text
    assert f"self mass     {report.self_mass:.3f}" in text
    assert f"field         {report.field.purity:.4f}" in text


def test_the_start_is_left_out_when_asked(pixels):
    report = inspect_field(load_run_field(pixels), start=False)
    assert (report.moved, report.p0, report.p0_knn) == (None, None, None)
    assert "p_0  " not in str(report)
    assert report.field == inspect_field(load_run_field(pixels)).field


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


def test_images_without_labels_have_figures_and_a_picture(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    random = np.random.default_rng(0)
    for number in range(20):
        pixels = random.integers(0, 256, (16, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    run = train(
        data=str(images),
        out=str(tmp_path / "run"),
        epochs=1,
        batch_size=8,
        workers=0,
        progress=False,
        field="hog",
        field_options={"neighbors": 4, "coupling": 0.5},
    )
    loaded = load_run_field(run.folder)
    report = inspect_field(loaded)
    assert (report.field, report.p0, report.chance, report.p0_knn) == (None,) * 4
    assert report.moved > 0
    assert "purity" not in str(report) + report.title
    picture = tmp_path / "field.png"
    assert loaded.labels is None
    draw_field(picture, loaded.field, loaded.data.train, 16, None, report.title, 3)
    assert not frames(picture) & {BLUE, ORANGE}


def frames(picture):
    """Colours of the picture that fill more than a legend does."""
    with Image.open(picture) as image:
        counts = image.convert("RGB").getcolors(2**24)
    return {color for count, color in counts if count > 2500}


def test_frames_tell_the_same_class_from_another(pixels, tmp_path):
    loaded = load_run_field(pixels)
    images, picture = loaded.data.train, tmp_path / "field.png"
    alike, distinct = torch.zeros(200), torch.arange(200)
    for labels, color in ((alike, BLUE), (distinct, ORANGE)):
        draw_field(picture, loaded.field, images, 28, labels, "Title", 3)
        assert frames(picture) & {BLUE, ORANGE} == {color}
    with Image.open(picture) as image:
        assert image.width == 1800
        few = image.height
    draw_field(picture, loaded.field, images, 28, alike, "Title", 6)
    with Image.open(picture) as image:
        assert image.height > 1.4 * few


@given(st.integers(3, 30))
@settings(max_examples=20, deadline=None)
def test_samples_are_distinct_and_go_from_sure_to_unsure(count):
    generator = torch.Generator().manual_seed(0)
    field = ResponseField(40, dim=2, neighbors=4)
    field.initialize(torch.randn(40, 6, generator=generator))
    for unfilled in range(0, 10):
        field.ids[unfilled], field.weights[unfilled] = -1, 0
        field.self_mass[unfilled] = 1
    groups = choose_samples(field, count)
    sizes = [len(group) for group in groups]
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    chosen = torch.cat(groups)
    assert len(chosen.unique()) == count
    assert chosen.min() >= 10  # rows without neighbours show nothing
    entropy = field.row_entropy()
    assert (entropy[chosen].diff() >= 0).all()
    assert entropy[chosen[0]] == entropy[10:].min()
    assert entropy[chosen[-1]] == entropy[10:].max()
    again = choose_samples(field, count)
    assert torch.equal(chosen, torch.cat(again))


@pytest.mark.parametrize("count", [2, 41])
def test_samples_that_there_are_not(count):
    field = ResponseField(40, dim=2, neighbors=4)
    with pytest.raises(ValueError, match=f"from 3 to 40, .* got {count}"):
        choose_samples(field, count)


def test_a_field_without_any_neighbour_has_a_picture_too(tmp_path):
    images = load_data("digits", limit=40).train
    field = ResponseField(40, dim=2, neighbors=4)
    draw_field(tmp_path / "field.png", field, images, 28, torch.zeros(40), "Title", 3)
    assert frames(tmp_path / "field.png") & {BLUE, ORANGE} == set()
