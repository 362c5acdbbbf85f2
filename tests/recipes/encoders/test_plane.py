import pytest
import torch

from rkdo_plugin import create_encoder


@pytest.mark.parametrize("size", [28, 40])
def test_images_of_any_size_get_two_numbers(size):
    encoder = create_encoder("plane:small-convnet", in_channels=1)
    assert encoder(torch.rand(3, 1, size, size)).shape == (3, 2)


def test_features_that_depend_on_the_size_are_refused():
    with pytest.raises(ValueError, match="at any image size but got 'pixels'"):
        create_encoder("plane:pixels")
