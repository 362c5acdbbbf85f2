"""Batches of raw images, cut at once from images that are held as arrays."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from rkdo_plugin.recipes.data.held import HeldImages

Batch = list[list[Tensor] | Tensor]


class HeldBatches(Dataset[Batch]):
    """The batches that a loader makes of `raw_image`, without a step for each image.

    A batch is [[images], labels, indices], images (B, C, H, W) uint8; with partners
    [[images, partners], labels, indices, partners' indices].

    Args:
        images: The training images.
    """

    def __init__(self, images: HeldImages) -> None:
        self.images = torch.from_numpy(images.pixels).permute(0, 3, 1, 2)
        self.labels = torch.from_numpy(images.targets)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, keys: list[Any]) -> Batch:
        """The batch of a loader's keys, (epoch, index) or (epoch, (index, partner))."""
        shown = torch.tensor([item for _, item in keys]).reshape(len(keys), -1).T
        return [[self.images[each] for each in shown], self.labels[shown[0]], *shown]
