import numpy as np

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.draw import files_of, labels_of
from rkdo_plugin.recipes.data.held import hold
from rkdo_plugin.recipes.data.images import as_arrays


def test_held_images_are_the_images(tmp_path):
    data = load_data("digits", limit=30)
    images = hold(data)
    assert hold(images).train is images.train
    for part in ("train", "test"):
        own, held = getattr(data, part), getattr(images, part)
        for found, expected in zip(
            as_arrays(held, 28), as_arrays(own, 28), strict=True
        ):
            assert np.array_equal(found, expected)
        assert np.array_equal(labels_of(held), labels_of(own))


def test_a_part_keeps_images_labels_and_files():
    images = hold(load_data("digits", limit=10)).train
    images.files = [f"{number}.png" for number in range(10)]
    part = images.part(np.array([7, 2]))
    assert np.array_equal(part.pixels, images.pixels[[7, 2]])
    assert part.targets.tolist() == images.targets[[7, 2]].tolist()
    assert files_of(part) == ["7.png", "2.png"]
