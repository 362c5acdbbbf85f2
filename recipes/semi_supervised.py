"""Base of the recipes that learn from a few labels and many unlabelled images."""

import math
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from rkdo_plugin.export import Encoder
from rkdo_plugin.options import check_at_least
from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.base.settings import RecipeSettings, SettingsLike
from rkdo_plugin.recipes.data.images import ImageData, as_arrays
from rkdo_plugin.recipes.data.labels import UNLABELLED, check_labelled
from rkdo_plugin.recipes.evaluation.accuracy import evaluate

RAMP = 0.25  # Share of the training during which the weight of consistency rises.


@dataclass(frozen=True)
class SemiSupervisedSettings(RecipeSettings):
    """Settings of a recipe that learns from a few labels.

    Args:
        labelled: Share of the training images whose label is seen, in (0, 1].
        consistency: Weight of the criterion after its rise. 0 is the supervised
            baseline.
    """

    num_classes: int = 10
    labelled: float = 0.1
    consistency: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_classes < 2:
            raise ValueError(
                f"Expected images of at least two classes but got {self.num_classes}"
            )
        check_labelled(self.labelled)
        check_at_least("consistency", self.consistency, 0)


class SemiSupervised(Recipe):
    """A classifier whose loss is cross-entropy plus a weighted consistency.

    L = 1/B sum_{i labelled} -log p_i[y_i] + w(t) criterion(p, target)
    w(t) = consistency * exp(-5 (1 - min(1, t / RAMP))^2),  t from 0 to 1
    """

    Settings = SemiSupervisedSettings
    settings: SemiSupervisedSettings
    default_loss = "consistency"
    reports = True

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        self.labelled = self.settings.labelled

    def classifiers(self) -> dict[str, nn.Module]:
        """The networks from images (B, C, H, W) to logits, by name; the best first."""
        raise NotImplementedError

    def loss_of(self, logits: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """The loss of logits (B, C), what they should agree with, and labels (B,)."""
        supervised = functional.cross_entropy(
            logits, labels, ignore_index=UNLABELLED, reduction="sum"
        ) / len(logits)
        progress = self.trainer.global_step / self.trainer.estimated_stepping_batches
        agreement = self.criterion(logits.softmax(dim=1), target)
        weight = self.settings.consistency * ramp_up(float(progress))
        size = len(logits)
        loss = self.log_loss(supervised + weight * agreement, size)
        self.log("supervised_loss", supervised, batch_size=size)
        self.log("consistency_loss", agreement, batch_size=size)
        return loss

    def report(self, data: ImageData, folder: Path) -> str:
        """Accuracy of the classifiers, and of frozen features, on the test images.

        Args:
            data: Labelled images. All their labels are read here.
            folder: Ignored. This report writes no files.
        """
        test, labels = as_arrays(data.test, data.image_size)
        lines = []
        for name, classifier in self.classifiers().items():
            logits = _with_preprocessing(classifier, data).embed(test)
            accuracy = float((logits.argmax(axis=1) == labels).mean())
            lines.append(f"{name:10} accuracy {accuracy:.4f}")
        scores = evaluate(self.frozen(data).embed, data)
        lines.append(
            f"features   kNN {scores['knn']:.4f}   linear {scores['linear']:.4f}"
        )
        return "\n".join(lines)


def ramp_up(progress: float) -> float:
    """Weight of the consistency, from exp(-5) to 1, at a share of the training.

    Example:
        >>> round(ramp_up(0.0), 4), ramp_up(0.5)
        (0.0067, 1.0)
    """
    return math.exp(-5 * (1 - min(1.0, progress / RAMP)) ** 2)


def _with_preprocessing(network: nn.Module, data: ImageData) -> Encoder:
    """An encoder whose output is the network's logits, not normalised."""
    return Encoder(
        network,
        image_size=data.image_size,
        mean=data.mean,
        std=data.std,
        normalize=False,
    )
