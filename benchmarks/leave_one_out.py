"""A score for small data: every image is classified by all others."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from rkdo_plugin.recipes.data.images import ImageData, as_arrays
from rkdo_plugin.recipes.evaluation.accuracy import NEIGHBORS, QUERIES, TEMPERATURE


def leave_one_out(embed: Callable[[Any], Any], data: ImageData) -> float:
    """The kNN accuracy of every image among all others, training images included."""
    halves = [as_arrays(part, data.image_size) for part in (data.train, data.test)]
    images, labels = (np.concatenate(part) for part in zip(*halves, strict=True))
    features = functional.normalize(torch.as_tensor(embed(images)).float(), dim=1)
    right = 0
    for index in torch.arange(len(features)).split(QUERIES):
        similarities = features[index] @ features.T
        similarities[torch.arange(len(index)), index] = -torch.inf
        nearest = similarities.topk(NEIGHBORS, dim=1)
        votes = torch.zeros(len(index), data.num_classes).scatter_add_(
            1,
            torch.as_tensor(labels)[nearest.indices].long(),
            (nearest.values / TEMPERATURE).exp(),
        )
        right += int((votes.argmax(dim=1).numpy() == labels[index]).sum())
    return right / len(labels)
