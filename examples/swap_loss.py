"""Lightly's SimCLR example with RKDO as its loss: the two lines marked + differ.

python examples/swap_loss.py FOLDER_OF_IMAGES
"""

import sys

import pytorch_lightning as pl
import torch
import torchvision
from lightly.data import LightlyDataset
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from torch import nn

from rkdo_plugin import SwapLoss  # +


class SimCLR(pl.LightningModule):
    """As in lightly/examples/pytorch_lightning/simclr.py."""

    def __init__(self):
        super().__init__()
        resnet = torchvision.models.resnet18()
        self.backbone = nn.Sequential(*list(resnet.children())[:-1])
        self.projection_head = SimCLRProjectionHead(512, 2048, 2048)
        self.criterion = NTXentLoss()

    def forward(self, x):
        """Embeddings of images."""
        x = self.backbone(x).flatten(start_dim=1)
        return self.projection_head(x)

    def training_step(self, batch, batch_index):
        """The loss of two views."""
        x0, x1 = batch[0]
        z0, z1 = self.forward(x0), self.forward(x1)
        return self.criterion(z0, z1)

    def configure_optimizers(self):
        """SGD, as in Lightly's example."""
        return torch.optim.SGD(self.parameters(), lr=0.06)


def main(folder, epochs=10, batch_size=256):
    """Train, and return the path of the checkpoint."""
    dataset = LightlyDataset(folder, transform=SimCLRTransform(input_size=32))
    dataloader = torch.utils.data.DataLoader(
        dataset, min(batch_size, len(dataset)), shuffle=True, drop_last=True
    )
    swap = SwapLoss("rkdo", temperature=0.2)
    trainer = pl.Trainer(max_epochs=epochs, accelerator="auto", callbacks=[swap])  # +
    trainer.fit(model=SimCLR(), train_dataloaders=dataloader)
    return trainer.checkpoint_callback.best_model_path


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/swap_loss.py FOLDER_OF_IMAGES")
    print(main(sys.argv[1]))
