import warnings

import torch

from rkdo_plugin import create_encoder


def test_a_vision_transformer_that_masks_patches():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoder = create_encoder("masked-vit:vit_tiny_patch16_224").eval()
    assert encoder(torch.zeros(1, 3, 224, 224)).flatten(1).shape == (1, 192)
