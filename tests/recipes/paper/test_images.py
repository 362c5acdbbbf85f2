from dataclasses import replace

import numpy as np
import pytest

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.paper.images import paper_images


def test_an_epochs_worth_is_held_out_in_mixed_order(images):
    assert images.held_out.shape == (32, 1, 28, 28)
    test = {image.tobytes(): n for n, image in enumerate(images.data.test.pixels)}
    places = [test[image.numpy().tobytes()] for image in images.held_out]
    assert len(set(places)) == 32
    assert places != sorted(places)


def test_classes_are_evaluated_evenly(images):
    for pixels, labels in (images.seen, images.test):
        assert pixels.shape == (60, 28, 28, 1)
        assert np.bincount(labels).tolist() == [6] * 10


def test_too_few_images_are_refused(protocol):
    data = load_data("digits")
    with pytest.raises(ValueError, match="704 images for training and for testing"):
        paper_images(data, replace(protocol, batch_size=64, batches=11))


def test_images_without_classes_are_refused(protocol):
    data = replace(load_data("digits"), num_classes=0)
    with pytest.raises(ValueError, match=r"at least two classes.* has 0 classes"):
        paper_images(data, protocol)
