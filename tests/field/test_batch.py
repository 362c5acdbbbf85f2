"""Batches with and without the index of their samples."""

import pytest
import torch
from lightly.data import LightlyDataset
from lightly.loss import NTXentLoss
from numbered_samples import Numbers, index_of, views
from quiet_trainer import trainer
from tiny_recipes import History, Recipe, filled_field
from torch import nn
from torch.utils.data import DataLoader

from rkdo_plugin import FieldCallback


class Viewed(Numbers):
    """As torchvision's data sets, whose `transform` Lightly sets."""

    transform = None

    def __getitem__(self, index):
        image, target = super().__getitem__(index)
        return self.transform(image), target


def test_lightly_dataset_with_its_own_index():
    field = filled_field()
    data = LightlyDataset.from_torch_dataset(
        Viewed(12), transform=views(), index_to_filename=index_of
    )
    recipe = Recipe(NTXentLoss())
    history = History()
    trainer(FieldCallback(field), max_epochs=1, logger=history).fit(
        recipe, DataLoader(data, batch_size=12)
    )
    (_, z0), (_, z1) = recipe.noted
    expected = nn.functional.normalize(
        nn.functional.normalize(z0) + nn.functional.normalize(z1)
    )
    torch.testing.assert_close(field.embeddings, expected.half())
    assert history.values["field/sampled"] == [0]


@pytest.mark.parametrize(
    ("samples", "got"),
    [
        ([(views()([n]), 0) for n in range(8)], r"\(list of 2 Tensor, int64 tensor"),
        ([(views()([n]), 0, str(n)) for n in range(8)], "tuple of 4 str"),
        ([(views()([n]), 0, n / 2) for n in range(8)], r"float64 tensor \(4,\)"),
        ([torch.zeros(3)] * 8, r"gave \(float32 tensor \(4, 3\)\)"),
    ],
)
def test_batches_without_index_are_refused(samples, got):
    recipe = Recipe(NTXentLoss())
    with pytest.raises(TypeError, match=f"{got}.*: wrap its data set in FieldPairs"):
        trainer(FieldCallback(filled_field())).fit(
            recipe, DataLoader(samples, batch_size=4)
        )
    assert not recipe.criterion._forward_hooks
