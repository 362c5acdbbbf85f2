"""The score of a run: accuracy where there are labels, else the features' rank."""

import numpy as np
from numpy.typing import NDArray

from rkdo_plugin.recipes.data.held import held
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.evaluation.accuracy import Embed, knn_accuracy

KNN = "kNN accuracy"
RANK = "RankMe"


def measure_of(data: ImageData) -> str:
    """The measure that `score` takes: kNN accuracy, or RankMe where classes lack."""
    return KNN if data.num_classes > 1 else RANK


def score(embed: Embed, data: ImageData) -> float:
    """The measure on the test images; higher is taken for better.

    Args:
        embed: From images (N, H, W, C) uint8 to features (N, D).
        data: The images. Without classes the training images are not looked at.
    """
    test = held(data.test, data)
    if measure_of(data) == RANK:
        return rank_me(embed(test.pixels))
    train = held(data.train, data)
    return knn_accuracy(
        embed(train.pixels), train.targets, embed(test.pixels), test.targets
    )


def rank_me(features: NDArray[np.floating]) -> float:
    """The effective rank of features (N, D), from 1 to D: RankMe, without labels.

        exp(-sum_k p_k log p_k),  p_k = s_k / sum_j s_j

    where s are the singular values.

    [0] RankMe, 2023, https://arxiv.org/abs/2210.02885
    """
    singular = np.linalg.svd(features.astype(np.float64), compute_uv=False)
    share = singular / singular.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))
