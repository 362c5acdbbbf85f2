import torch

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.training.batches import TwoViews
from rkdo_plugin.recipes.training.loader import StepLoader
from rkdo_plugin.recipes.views.transforms import two_views


def test_two_views_are_augmented_apart_and_normalised():
    data = load_data("digits")
    loader = StepLoader(TwoViews(data.train, two_views(data)), 512, seed=0)
    (view0, view1), labels, _ = next(iter(loader))
    assert view0.shape == view1.shape == (512, 1, 28, 28)
    assert not torch.equal(view0, view1)
    # Crops keep the statistics about where they are; without the normalisation the
    # mean would be that of the pixels, 0.31.
    assert abs(view0.mean()) < 0.3
    assert 0.7 < view0.std() < 1.3
    assert labels.bincount().min() > 25
