"""A run's field as a picture."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import random_folder
from PIL import Image
from runs import train

from rkdo_plugin.field import ResponseField
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.field.inspect import inspect_field, load_run_field
from rkdo_plugin.recipes.pictures.field import choose_samples, draw_field

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


@pytest.fixture(scope="module")
def pixels(run_with_field):
    return run_with_field("pixels", epochs=2, teacher_temperature=0.1)


def test_images_without_labels_have_figures_and_a_picture(tmp_path):
    images = random_folder(tmp_path / "images", 20, (16, 24, 3))
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
@settings(max_examples=20)
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
