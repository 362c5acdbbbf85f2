"""Samples whose views say what they show; spawned processes import them by name."""

from dataclasses import dataclass

import torch
from lightly.transforms.multi_view_transform import MultiViewTransform


class Numbers:
    """Item i is ([i], i % 3), as an image and its label."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if not 0 <= index < self.length:
            raise IndexError(index)
        return [index], index % 3


@dataclass
class View:
    """The sample's number, that of the view, and a draw, as augmentations make."""

    number: int

    def __call__(self, image):
        return torch.tensor([float(image[0]), self.number, torch.rand(()).item()])


def views(count=2):
    return MultiViewTransform([View(number) for number in range(count)])


def index_of(dataset, index):
    """For `LightlyDataset(index_to_filename=)`."""
    return index
