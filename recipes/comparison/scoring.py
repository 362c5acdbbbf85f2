"""The score of a run: accuracy where there are labels, else the features' rank."""

from rkdo_plugin.recipes.data.held import held
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.evaluation.accuracy import Embed, knn_accuracy
from rkdo_plugin.recipes.evaluation.measures import rank_me

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
