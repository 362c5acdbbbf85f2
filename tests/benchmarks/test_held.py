import held
import numpy as np
import pytest
import torch
from PIL import Image
from runs import assert_equal
from tiny_recipes import filled_field

from rkdo_plugin import FieldPairs
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.training.batches import TwoViews
from rkdo_plugin.recipes.training.loader import ShuffledBatches, StepLoader
from rkdo_plugin.recipes.views.transforms import raw_image


@pytest.mark.parametrize("with_field", [False, True])
def test_batches_are_those_of_the_loader(with_field):
    data = held.hold(load_data("digits", limit=60))
    field = filled_field(60) if with_field else None
    raw = raw_image(data, copies=2 if with_field else 1)
    samples = FieldPairs(data.train, raw, field) if field else TwoViews(data.train, raw)
    loader = StepLoader(samples, 16, seed=3, field=field)
    batches = held.HeldBatches(
        data.train, ShuffledBatches(60, 16, 3, field), torch.device("cpu")
    )
    assert len(batches) == len(loader) == 3
    for _ in range(2):
        for found, expected in zip(batches, loader, strict=True):
            draw = torch.rand(())  # the step's own
            images, labels, index, partner = found
            assert_equal([images, labels, index], expected[:3])
            assert torch.equal(partner, expected[-1])
            torch.manual_seed(torch.initial_seed())
            assert draw == torch.rand(())


def test_images_are_held_as_they_are_decoded(tmp_path):
    generator = np.random.default_rng(0)
    for part, count in (("train", 4), ("test", 2)):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (32, 32, 3), np.uint8)
                file = tmp_path / part / name / f"{number}.jpg"
                Image.fromarray(pixels).save(file)
    expected, data = load_data(str(tmp_path)), held.load_held(str(tmp_path))
    assert (data.name, data.num_classes, data.mean) == (
        expected.name,
        2,
        expected.mean,
    )
    for part in ("train", "test"):
        pixels, labels = as_arrays(getattr(expected, part), 32)
        found = getattr(data, part)
        assert np.array_equal(found.pixels, pixels)
        assert np.array_equal(found.targets, labels)
        assert np.array_equal(np.asarray(found[3][0]), pixels[3])


def test_arrays_of_a_file(tmp_path, arrays):
    np.savez(tmp_path / "three.npz", **arrays)
    data = held.load_held(str(tmp_path / "three.npz"))
    assert (data.name, data.image_size, data.channels) == ("three", 32, 3)
    assert (len(data.train), len(data.test), data.num_classes) == (72, 36, 3)
    planes = torch.from_numpy(arrays["x"]).double().flatten(0, 2) / 255
    assert torch.allclose(torch.tensor(data.mean).double(), planes.mean(dim=0))
    assert torch.allclose(
        torch.tensor(data.std).double(), planes.std(dim=0, unbiased=False)
    )
    np.savez(tmp_path / "three.npz", **arrays, mean=[0.1] * 3, std=[0.2] * 3)
    few = held.load_held(str(tmp_path / "three.npz"), limit=30)
    assert (few.mean, few.std) == ((0.1,) * 3, (0.2,) * 3)
    assert np.bincount(few.train.targets).tolist() == [10, 10, 10]
    assert held.hold(few) is few


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_pictures_are_those_that_the_library_reads(channels):
    pixels = np.arange(4 * 6 * 2 * channels, dtype=np.uint8).reshape(4, 6, 2, channels)
    images = held.HeldImages(pixels, np.arange(4))
    found, labels = as_arrays(images, (6, 2))
    assert np.array_equal(found, pixels)
    assert labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x", np.zeros((72, 32, 32, 3)), r"uint8 .* but got \(72, 32, 32, 3\) float64"),
        ("y", np.zeros(71, int), r"labels \(N,\) but got .* with \(71,\)"),
        (
            "tx",
            np.zeros((36, 32, 32, 1), np.uint8),
            r"of one size .* \(36, 32, 32, 1\)",
        ),
    ],
)
def test_other_arrays_are_refused(arrays, name, value, message):
    with pytest.raises(ValueError, match=message):
        held.of_arrays("three", **arrays | {name: value})
