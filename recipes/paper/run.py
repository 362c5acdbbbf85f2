"""One seed of the published experiment: train, and score at each length."""

from collections.abc import Iterator

import numpy as np
import torch
from lightly.models.modules.heads import SimCLRProjectionHead
from sklearn.cluster import KMeans
from torch import Tensor, nn

from rkdo_plugin.export import Encoder
from rkdo_plugin.plugins.create import create_encoder, create_loss
from rkdo_plugin.recipes.encoders.feature_dim import feature_dim
from rkdo_plugin.recipes.evaluation.accuracy import (
    Embed,
    knn_accuracy,
    linear_accuracy,
)
from rkdo_plugin.recipes.evaluation.clusters import agreement
from rkdo_plugin.recipes.evaluation.measures import neighbourhood_accuracy
from rkdo_plugin.recipes.paper.images import PaperImages
from rkdo_plugin.recipes.paper.protocol import (
    ICON,
    INFO_NCE,
    RKDO,
    Protocol,
    criterion_of,
)
from rkdo_plugin.recipes.training.loader import seed_generators
from rkdo_plugin.recipes.views.transforms import batched, two_views

Scores = dict[str, float]
UNTRAINED, PIXELS = "untrained", "pixels"


class PaperRun:
    """An encoder with its projection, and the views that it is trained on.

    Args:
        images: What it is trained on.
        protocol: How.
        seed: Of weights, batches and views. Two losses with one seed start from the
            same weights and see the same views.
    """

    def __init__(self, images: PaperImages, protocol: Protocol, seed: int) -> None:
        data = images.data
        seed_generators(seed)
        self.encoder = create_encoder(protocol.encoder, in_channels=data.channels)
        dim = feature_dim(self.encoder, data.channels, data.image_size)
        head = SimCLRProjectionHead(dim, dim, protocol.dim, batch_norm=False)
        self.network = nn.Sequential(self.encoder, nn.Flatten(), head)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=protocol.learning_rate,
            weight_decay=protocol.weight_decay,
        )
        self.images, self.protocol, self.seed = images, protocol, seed
        self.views = batched(two_views(data), data)

    def train_epoch(self, criterion: nn.Module, epoch: int) -> float:
        """Train an epoch, and return the mean loss of its steps."""
        protocol = self.protocol
        order = np.random.default_rng((self.seed, epoch)).permutation(
            len(self.images.train)
        )
        losses = []
        self.network.train()
        for batch in range(protocol.batches):
            start = batch * protocol.batch_size
            index = torch.from_numpy(order[start : start + protocol.batch_size])
            seed_generators(self.seed, epoch, batch)
            losses.append(self.step(criterion, self.images.train[index]))
        return float(np.mean(losses))

    def step(self, criterion: nn.Module, images: Tensor) -> float:
        """One step on images (B, C, H, W); returns its loss."""
        view0, view1 = self.views([images])
        loss = criterion(self.network(view0), self.network(view1))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def held_out(self) -> Scores:
        """Losses of test images; the views are the same for every encoder."""
        yardsticks = {
            "held-out InfoNCE": create_loss("ntxent", **INFO_NCE),
            "held-out I-Con": criterion_of(ICON),
            "held-out RKDO": criterion_of(RKDO),
        }
        self.network.eval()
        found: dict[str, list[float]] = {name: [] for name in yardsticks}
        batches = torch.split(self.images.held_out, self.protocol.batch_size)
        for number, batch in enumerate(batches):
            seed_generators(number)
            z0, z1 = map(self.network, self.views([batch]))
            for name, criterion in yardsticks.items():
                found[name].append(float(criterion(z0, z1)))
        return {name: float(np.mean(losses)) for name, losses in found.items()}

    def scores(self) -> Scores:
        """All that the table says of an encoder but its training loss."""
        data = self.images.data
        encoder = Encoder(
            self.encoder, image_size=data.image_size, mean=data.mean, std=data.std
        )
        return self.held_out() | feature_scores(self.images, encoder.embed)


def feature_scores(images: PaperImages, embed: Embed) -> Scores:
    """How good features of the evaluated images are."""
    (seen, seen_labels), (test, test_labels) = images.seen, images.test
    train_features, features = embed(seen), embed(test)
    given = train_features, seen_labels, features, test_labels
    clusters = KMeans(images.data.num_classes, n_init=10, random_state=0).fit_predict(
        features
    )
    found = agreement(test_labels, clusters)
    return {
        "kNN": knn_accuracy(*given),
        "linear": linear_accuracy(*given),
        "NMI": found["nmi"],
        "ARI": found["ari"],
        "neighbours": neighbourhood_accuracy(features, test_labels),
    }


def run_seed(
    loss: str, seed: int, images: PaperImages, protocol: Protocol
) -> Iterator[tuple[int, Scores]]:
    """Train with one loss and seed.

    Args:
        loss: "rkdo", "icon", or "untrained" for the encoder as it starts.
        seed: Of weights, batches and views.
        images: What it is trained and evaluated on.
        protocol: How.

    Yields:
        The number of epochs, and the scores there; "loss" is the mean of the last
        epoch's steps.
    """
    trained = PaperRun(images, protocol, seed)
    if loss == UNTRAINED:
        yield 0, trained.scores()
        return
    criterion = criterion_of(loss)
    for epoch in range(max(protocol.epochs)):
        mean = trained.train_epoch(criterion, epoch)
        if epoch + 1 in protocol.epochs:
            yield epoch + 1, {"loss": mean, **trained.scores()}
