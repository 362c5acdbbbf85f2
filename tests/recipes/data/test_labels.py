import pytest
import torch

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.labels import PartlyLabelled


def test_labels_that_leave_a_class_without():
    images = load_data("digits").train
    with pytest.raises(ValueError, match=r"each of 10 classes but 0\.005 of 1437"):
        PartlyLabelled(images, 0.005, seed=0)


def test_labels_are_hidden_evenly_by_the_seed():
    images = load_data("digits").train
    some = PartlyLabelled(images, 0.1, seed=3)
    kept = [some[index][1] for index in range(len(some))]
    assert sum(label >= 0 for label in kept) == len(some.labelled) == 143
    assert all(kept[i] == images[i][1] for i in some.labelled)
    counts = torch.tensor([kept[i] for i in some.labelled]).bincount()
    assert counts.min() >= 13
    again, other = (PartlyLabelled(images, 0.1, seed=s).labelled for s in (3, 4))
    assert (again == some.labelled).all()
    assert not (other == some.labelled).all()
    assert PartlyLabelled(images, 1.0, seed=0)[5] == images[5]
