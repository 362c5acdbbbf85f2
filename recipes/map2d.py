"""A map of a data set: a network that puts every image at a place in the plane.

[0] Parametric t-SNE, 2009, https://proceedings.mlr.press/v5/maaten09a.html
[1] t-SimCNE, 2022, https://arxiv.org/abs/2210.09879
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from rkdo_plugin.plugins.create import create_encoder
from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.base.settings import RecipeSettings, SettingsLike
from rkdo_plugin.recipes.data.images import ImageData, as_arrays
from rkdo_plugin.recipes.encoders.plane import ending_in_plane
from rkdo_plugin.recipes.pictures.map import draw_map
from rkdo_plugin.recipes.views.plain import plain_view
from rkdo_plugin.recipes.views.transforms import Views, two_views
from rkdo_plugin.supervision import Pairs

NEIGHBORS = 10  # Neighbours in the plane that vote for the class of a place.
BATCH_SIZE = 512


@dataclass(frozen=True)
class Map2DSettings(RecipeSettings):
    """Settings of `Map2D`.

    Args:
        features: The registered encoder whose features t-SNE reads: "pixels", or
            "run:FOLDER" for the encoder of a trained run. It is not trained.
    """

    features: str = "pixels"


class Map2D(Recipe):
    """Parametric t-SNE, or t-SimCNE, with any encoder.

    An encoder given by name gets layers that end in the plane; a module maps images
    (B, C, H, W) to places (B, 2) itself. A criterion that reads features, such as
    t-SNE's, is called as `criterion(places, targets=features)` on images as they are. A
    criterion of pairs, such as "t-simclr", is called as `criterion(places0, places1)`
    on two augmented views.

    Example:
        >>> recipe = create_recipe("map2d", in_channels=1, image_size=28)
        >>> recipe(torch.rand(5, 1, 28, 28)).shape
        torch.Size([5, 2])
    """

    Settings = Map2DSettings
    settings: Map2DSettings
    default_loss = "t-sne"
    normalize = False  # places are no directions
    reports = True

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        channels = self.settings.in_channels
        encoder = self.starting_encoder()
        self.backbone = (
            encoder
            if isinstance(self.settings.encoder, nn.Module)
            else ending_in_plane(encoder, channels)
        )
        self.features = create_encoder(self.settings.features, in_channels=channels)
        self.features.eval().requires_grad_(False)

    @property
    def encoder_name(self) -> str | None:
        """The registered encoder that `backbone` is; None where it is a module."""
        encoder = self.settings.encoder
        return f"plane:{encoder}" if isinstance(encoder, str) else None

    @property
    def augmented(self) -> bool:
        """Whether the criterion reads two augmented views, and no features."""
        return isinstance(getattr(self.criterion, "supervision", Pairs()), Pairs)

    def views(self, data: ImageData) -> Views:
        """Two augmented views, or the image as it is where features are read."""
        return two_views(data) if self.augmented else plain_view(data)

    def train(self, mode: bool = True) -> "Map2D":
        """Train the map; the features stay frozen, normalisation included."""
        super().train(mode)
        self.features.eval()
        return self

    def call_criterion(self, criterion: nn.Module, z0: Tensor, z1: Tensor) -> None:
        """Call a criterion as a step does: on places (B, 2), perhaps with features."""
        if self.augmented:
            super().call_criterion(criterion, z0, z1)
        else:
            criterion(z0, targets=z1)

    def forward(self, images: Tensor) -> Tensor:
        """Places (B, 2) of images (B, C, H, W)."""
        places: Tensor = self.backbone(images)
        return places

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of the two views of a Lightly batch."""
        view0, view1 = batch[0]
        if self.augmented:
            loss: Tensor = self.criterion(self(view0), self(view1))
        else:
            with torch.no_grad():
                features = self.features(view0).flatten(start_dim=1)
            loss = self.criterion(self(view0), targets=features)
        return self.log_loss(loss, len(view0))

    def report(self, data: ImageData, folder: Path) -> str:
        """Draw the map, and say the accuracy of nearest neighbours in the plane.

        Args:
            data: Images, labelled or not.
            folder: Folder for map.png, the map of the training images.
        """
        picture = folder / "map.png"
        images, labels = as_arrays(data.train, data.image_size)
        places = self.places(images, data)
        draw_map(picture, places, images, labels)
        lines = [f"map: {picture}"]
        if data.num_classes > 1:
            test_images, test_labels = as_arrays(data.test, data.image_size)
            test_places = self.places(test_images, data)
            accuracy = map_accuracy(places, labels)
            test = map_accuracy(places, labels, test_places, test_labels)
            lines.append(
                f"{NEIGHBORS} nearest neighbours in the plane: {accuracy:.4f} among "
                f"the training images, each left out, {test:.4f} of the test images"
            )
        return "\n".join(lines)

    @torch.no_grad()
    def places(self, images: NDArray[np.uint8], data: ImageData) -> NDArray[np.float32]:
        """Places (N, 2) of images (N, H, W, C) uint8, with the data's normalisation."""
        self.eval()
        mean, std = torch.tensor(data.mean), torch.tensor(data.std)
        found = [
            self(((batch / 255 - mean) / std).permute(0, 3, 1, 2).contiguous())
            for batch in torch.split(torch.from_numpy(images), BATCH_SIZE)
        ]
        places: NDArray[np.float32] = torch.cat(found).numpy()
        return places


def map_accuracy(
    places: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    test_places: NDArray[np.floating[Any]] | None = None,
    test_labels: NDArray[np.integer[Any]] | None = None,
) -> float:
    """Accuracy of the vote of the ten nearest places.

    Args:
        places: (N, 2), of the neighbours.
        labels: Their classes (N,).
        test_places: (M, 2) to classify; the neighbours themselves, each left out of its
            own vote, when not given.
        test_labels: Their classes (M,).
    """
    if test_places is None:
        # The nearest place is its own.
        nearest = KNeighborsClassifier(NEIGHBORS + 1).fit(places, labels)
        indices = nearest.kneighbors(return_distance=False, n_neighbors=NEIGHBORS)
        votes = [np.bincount(row).argmax() for row in labels[indices]]
        return float(np.mean(np.asarray(votes) == labels))
    classifier = KNeighborsClassifier(NEIGHBORS).fit(places, labels)
    return float(classifier.score(test_places, test_labels))
