"""Clusters of frozen features: neighbours of a response field share a cluster.

[0] I-Con, 2025, https://arxiv.org/abs/2504.16929: debiased InfoNCE clustering
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from rkdo_plugin.options import check_count
from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.base.settings import RecipeSettings, SettingsLike
from rkdo_plugin.recipes.data.images import ImageData, LabelledImages
from rkdo_plugin.recipes.evaluation.clusters import agreement
from rkdo_plugin.recipes.pictures.clusters import draw_clusters
from rkdo_plugin.recipes.views.plain import plain_view
from rkdo_plugin.recipes.views.transforms import Views

# Momentum of the moving averages of the heads' losses and of the clusters' sizes.
MOMENTUM = 0.95
COLLAPSED = 0.9  # With this share of the images in one cluster, a run warns.


@dataclass(frozen=True)
class ClusterSettings(RecipeSettings):
    """Settings of `Cluster`.

    Args:
        clusters: Number of clusters.
        heads: Number of heads to choose from.
        hidden: Width of a head's hidden layer.
    """

    encoder: str | nn.Module = "pixels"
    learning_rate: float = 3e-3
    clusters: int = 10
    heads: int = 4
    hidden: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("clusters", self.clusters, least=2)
        check_count("heads", self.heads)
        check_count("hidden", self.hidden)


class Cluster(Recipe):
    """Assigns images to clusters by their frozen features.

    The encoder is not trained. Several heads are trained beside each other, and the one
    with the least loss is used, as k-means uses the best of its restarts. Partners come
    from a response field. The criterion is called as `criterion(logits0, logits1)`.

    Example:
        >>> recipe = create_recipe("cluster", in_channels=1, image_size=28)
        >>> recipe(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    Settings = ClusterSettings
    settings: ClusterSettings
    default_loss = "pmi-clustering"
    default_field = "pixels"
    updates_field = False
    reports = True

    head_loss: Tensor
    sizes: Tensor

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        clusters, hidden = self.settings.clusters, self.settings.hidden
        heads = self.settings.heads
        self.backbone, dim = self.build_encoder()
        self.backbone.eval().requires_grad_(False)
        self.scale = Scale(dim)
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, clusters)
            )
            for _ in range(heads)
        )
        self.register_buffer("head_loss", torch.zeros(heads))
        self.register_buffer("sizes", torch.full((clusters,), 1 / clusters))

    def views(self, data: ImageData) -> Views:
        """The image as it is."""
        return plain_view(data)

    def train(self, mode: bool = True) -> "Cluster":
        """Train the heads; the features stay frozen, normalisation included."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of the clusters of images (B, C, H, W), by the best head."""
        best = self.heads[int(self.head_loss.argmin())]
        logits: Tensor = best(self.scale(self.features(images)))
        return logits

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Frozen features (B, F) of images (B, C, H, W)."""
        features: Tensor = self.backbone(images).flatten(start_dim=1)
        return features

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The heads' losses of a batch of images and their partners."""
        size = len(batch[0][0])
        if size < len(self.sizes):
            raise ValueError(
                f"Expected a batch of at least `clusters` = {len(self.sizes)} images "
                f"but got {size}"
            )
        features = [self.scale(self.features(view)) for view in batch[0]]
        logits = [[head(view) for view in features] for head in self.heads]
        losses = torch.stack([self.criterion(*views) for views in logits])
        with torch.no_grad():
            first = self.trainer.global_step == 0
            self.head_loss.lerp_(losses, 1.0 if first else 1 - MOMENTUM)
            best = int(self.head_loss.argmin())
            share = logits[best][0].softmax(dim=1).mean(dim=0)
            self.sizes.lerp_(share, 1.0 if first else 1 - MOMENTUM)
            used = logits[best][0].argmax(dim=1).unique().numel()
        self.log_loss(losses[best], size)
        self.log("largest_cluster", self.sizes.max(), batch_size=size)
        self.log("used_clusters", float(used), batch_size=size)
        return losses.sum()

    def on_train_end(self) -> None:
        """Warn if nearly all images share one cluster."""
        largest = float(self.sizes.max())
        if largest > COLLAPSED:
            warnings.warn(
                f"the clusters collapsed: one of {len(self.sizes)} holds {largest:.0%} "
                "of the images; less --loss.debias, more --epochs or another --field "
                "may help",
                stacklevel=2,
            )

    def report(self, data: ImageData, folder: Path) -> str:
        """The clusters beside scikit-learn's k-means on the same features, as a table.

        Args:
            data: Labelled images. Both are fitted on the training images; k-means is
                the best of ten starts.
            folder: Folder for clusters.png, which shows images of each cluster.

        Raises:
            ValueError: The images have no classes.
        """
        if data.num_classes < 2:
            raise ValueError(
                f"Expected images of at least two classes but {data.name} has "
                f"{data.num_classes}"
            )
        sides = [self.embed(side, data) for side in (data.train, data.test)]
        picture = folder / "clusters.png"
        draw_clusters(picture, data.train, sides[0][1], len(self.sizes))
        k_means = KMeans(len(self.sizes), n_init=10, random_state=0)
        k_means.fit(sides[0][0])
        assigned = {
            "k-means": [k_means.predict(features) for features, _, _ in sides],
            "clusters": [clusters for _, clusters, _ in sides],
        }
        lines = [f"{'':12}{'accuracy':>10}{'NMI':>8}{'ARI':>8}{'test acc':>10}"]
        for name, (train, test) in assigned.items():
            scores = agreement(sides[0][2], train)
            unseen = agreement(sides[1][2], test)
            lines.append(
                f"{name:12}{scores['accuracy']:10.4f}{scores['nmi']:8.4f}"
                f"{scores['ari']:8.4f}{unseen['accuracy']:10.4f}"
            )
        return "\n".join([*lines, f"picture: {picture}"])

    @torch.no_grad()
    def embed(
        self, images: LabelledImages, data: ImageData
    ) -> tuple[np.ndarray[Any, Any], ...]:
        """Features (N, F), clusters (N,) and labels (N,) of images."""
        view = plain_view(data)
        self.eval()
        features, clusters, labels = [], [], []
        for start in range(0, len(images), 512):
            stop = min(start + 512, len(images))
            pairs = [images[index] for index in range(start, stop)]
            batch = torch.stack([view(image)[0] for image, _ in pairs])
            features.append(self.features(batch))
            clusters.append(self(batch).argmax(dim=1))
            labels += [label for _, label in pairs]
        return (
            torch.cat(features).numpy(),
            torch.cat(clusters).numpy(),
            np.asarray(labels),
        )


class Scale(nn.Module):
    """Centres features, and divides all by one number: the root of their mean variance.

    Features come in any unit, and the heads' learning rate should not depend on it; a
    number for each component would blow up components that hardly vary.

    Args:
        dim: Number of features, F.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(()))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, F), scaled by the mean of the batches that were trained on."""
        if self.training:
            self.batches += 1
            share = float(1 / self.batches)
            self.mean.lerp_(features.mean(dim=0), share)
            variance = (features - self.mean).square().mean()
            self.variance.lerp_(variance, share)
        return (features - self.mean) * torch.rsqrt(self.variance + 1e-12)
