import torch

from rkdo_plugin import create_encoder


def test_pixels_are_the_pixels():
    images = torch.rand(2, 3, 4, 5)
    features = create_encoder("pixels")(images)
    assert torch.equal(features.reshape(2, 3, 4, 5), images)


def test_the_wide_network_gives_twice_the_features():
    images = torch.rand(2, 3, 32, 32)
    narrow, wide = create_encoder("small-convnet"), create_encoder("wide-convnet")
    assert wide(images).shape[1] == 2 * narrow(images).shape[1]
