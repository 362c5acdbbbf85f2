"""What methods share that learn from a few labels and many images without one."""

import math
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from rkdo_plugin.export import Encoder
from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.data.images import ImageData, as_arrays
from rkdo_plugin.recipes.data.labels import UNLABELLED, check_labelled
from rkdo_plugin.recipes.evaluation.accuracy import evaluate
from rkdo_plugin.recipes.evaluation.model import Embed, torch_embed
from rkdo_plugin.recipes.training.knn import frozen

RAMP = 0.25  # share of the training during which the consistency's weight rises


class SemiSupervised(Recipe):
    """A classifier whose loss is cross-entropy plus a weighted consistency.

        L = 1/B sum_{i labelled} -log p_i[y_i] + w(t) criterion(p, target)
        w(t) = consistency * exp(-5 (1 - min(1, t / RAMP))^2),  t from 0 to 1

    Args:
        encoder: Recorded where it goes by name.
        loss: A registered loss's name, or a criterion of probabilities (B, C).
        loss_options: Arguments of a loss given by name.
        num_classes: C.
        labelled: Share of the training images whose label is seen, in (0, 1].
        consistency: w at the end of its rise; 0 is the supervised baseline.
        optimizer: "adamw", "sgd" or "lars".
        learning_rate: Its peak.
        weight_decay: Of matrices and kernels.
    """

    def __init__(
        self,
        encoder: str | nn.Module,
        loss: str | nn.Module,
        loss_options: dict[str, Any] | None,
        num_classes: int,
        labelled: float,
        consistency: float,
        optimizer: str,
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        if num_classes < 2:
            raise ValueError(
                f"Expected images of at least two classes but got {num_classes}"
            )
        check_labelled(labelled)
        if not consistency >= 0:
            raise ValueError(
                f"Expected `consistency` to be at least 0 but got {consistency}"
            )
        super().__init__(
            encoder, loss, loss_options, optimizer, learning_rate, weight_decay
        )
        self.labelled = labelled
        self.consistency = consistency

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
        loss: Tensor = (
            supervised + self.consistency * ramp_up(float(progress)) * agreement
        )
        size = len(logits)
        self.log("train_loss", loss, prog_bar=True, batch_size=size)
        self.log("supervised_loss", supervised, batch_size=size)
        self.log("consistency_loss", agreement, batch_size=size)
        return loss

    def report(self, data: ImageData, folder: Path) -> str:
        """Accuracy of the classifiers, and of frozen features, on the test images.

        Args:
            data: Labelled images; all their labels are read here.
            folder: Not written to.
        """
        test, labels = as_arrays(data.test, data.image_size)
        lines = []
        for name, classifier in self.classifiers().items():
            logits = _embed(classifier, data)(test)
            accuracy = float((logits.argmax(axis=1) == labels).mean())
            lines.append(f"{name:10} accuracy {accuracy:.4f}")
        scores = evaluate(torch_embed(frozen(self, data)), data)
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


def _embed(network: nn.Module, data: ImageData) -> Embed:
    return torch_embed(
        Encoder(
            network,
            image_size=data.image_size,
            mean=data.mean,
            std=data.std,
            normalize=False,  # logits
        )
    )
