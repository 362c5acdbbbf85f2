"""SimCLR whose second views come from neighbours that a response field draws.

    python examples/response_field.py

The lines marked + make the difference: a field, a data set, a callback. The neighbours
are the nearest images by their pixels. The script trains on scikit-learn's digits and
prints the test accuracy of nearest neighbours and of a linear classifier.
"""

import sys

import numpy as np
import pytorch_lightning as pl
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from torch import nn

from rkdo_plugin import FieldCallback, FieldPairs, ResponseField  # +
from rkdo_plugin.export import Encoder
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.evaluation.accuracy import evaluate


class SimCLR(pl.LightningModule):
    """A LightningModule of your own. Nothing in it knows of the field."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            *(nn.Conv2d(1, 32, 3, stride=2), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, stride=2), nn.BatchNorm2d(64), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
        self.projection_head = SimCLRProjectionHead(64, 64, 32)
        self.criterion = NTXentLoss(temperature=0.2)

    def training_step(self, batch, batch_index):
        """The loss of two views; the second may show a neighbour."""
        z0, z1 = (self.projection_head(self.backbone(view)) for view in batch[0])
        return self.criterion(z0, z1)

    def configure_optimizers(self):
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=4e-3)


def main(epochs=10):
    """Train, and return the accuracies."""
    data = load_data("digits")  # data.train: pairs of a PIL image and a label
    normalize = {"mean": list(data.mean), "std": list(data.std)}
    transform = SimCLRTransform(28, cj_sat=0, cj_hue=0, hf_prob=0, normalize=normalize)
    pixels = np.stack([np.ravel(image) for image, _ in data.train]).astype(np.float32)
    field = ResponseField(len(data.train), dim=32, coupling=0)  # +
    field.initialize(pixels - pixels.mean(axis=0))  # +
    dataset = FieldPairs(data.train, transform, field)  # +
    dataloader = torch.utils.data.DataLoader(
        dataset, batch_size=256, shuffle=True, drop_last=True
    )
    model, callbacks = SimCLR(), [FieldCallback(field)]  # +
    trainer = pl.Trainer(max_epochs=epochs, logger=False, callbacks=callbacks)
    trainer.fit(model, dataloader)
    encoder = Encoder(model.backbone, image_size=28, mean=data.mean, std=data.std)
    return evaluate(encoder.embed, data)


if __name__ == "__main__":
    if len(sys.argv) != 1:
        sys.exit("usage: python examples/response_field.py (it trains on digits only)")
    print(main())
