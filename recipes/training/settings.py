"""The settings of a training run: what decides the result, and how it is computed."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from rkdo_plugin.export.encoder.image_size import optional_image_size
from rkdo_plugin.options import check_count, choose

AUGMENT = ("images", "batches")


@dataclass(frozen=True)
class RunSettings:
    """All that decides what a run learns; a run's config.yaml records it.

    Args:
        recipe: A registered recipe, for example simclr, byol, moco or dino; `rkdo
            plugins` lists all.
        recipe_options: Further settings of the recipe, as --recipe.clusters 20.
        loss: A registered loss, for example rkdo; the recipe's own by default.
        loss_options: Arguments of the loss, as --loss.temperature 0.2.
        data: digits, fashion-mnist, cifar10, cifar100, stl10, or a folder of images.
        encoder: A registered encoder, for example resnet18, timm:NAME or run:FOLDER;
            the recipe's own by default.
        weights: Start the encoder from a file of weights, a run folder or a checkpoint:
            anything that `rkdo export` reads.
        branch: Where in these weights the encoder is, if names do not tell.
        pretrained: Start the encoder from the weights that torchvision or timm publish;
            they are downloaded if they are not in the cache.
        field: Start of a response field that draws partners: one-hot, pixels, pca, hog,
            timm:NAME or torchvision:NAME for a pretrained network, or the path of a
            model or of features; the recipe's own by default.
        field_options: Options of the field, as --field.coupling 0.1.
        epochs: Number of passes over the training images.
        batch_size: Images in memory at a time, over all processes. An incomplete last
            batch is dropped.
        limit: Train on LIMIT images only, drawn with the seed, evenly from all classes.
        image_size: Height and width in pixels that the encoder reads, as 224 or
            256x128; those of the data by default.
        augment: images: Lightly's transforms, an image at a time in the workers.
            batches: the same changes on tensors, a batch at a time on the training
            device.
        precision: Lightning's precision, for example bf16-mixed or 16-mixed.
        accumulate: Number of batches whose gradients an optimizer step takes.
        seed: Seed of the weights, the order and the augmentation.
    """

    recipe: str = "simclr"
    recipe_options: dict[str, Any] | None = None
    loss: str | None = None
    loss_options: dict[str, Any] | None = None
    data: str = "digits"
    encoder: str | None = None
    weights: str | None = None
    branch: str | None = None
    pretrained: bool = False
    field: str | None = None
    field_options: dict[str, Any] | None = None
    epochs: int = 10
    batch_size: int = 256
    limit: int | None = None
    image_size: int | str | None = None
    augment: Literal["images", "batches"] = "images"
    precision: str = "32-true"
    accumulate: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        choose("augment", self.augment, AUGMENT)
        for name in ("epochs", "batch_size", "accumulate"):
            check_count(name, getattr(self, name))
        if self.limit is not None:
            check_count("limit", self.limit)
        check_count("seed", self.seed, least=0)
        optional_image_size(self.image_size)

    def as_config(self) -> dict[str, Any]:
        """The settings as config.yaml holds them."""
        return asdict(self)


@dataclass(frozen=True)
class Execution:
    """How a run is computed, and what it leaves beside its result.

    Args:
        root: Folder that holds the data sets.
        workers: Processes that augment images; the result does not depend on it.
        devices: Processes on this machine, one for each device.
        num_nodes: Number of machines.
        strategy: Lightning's strategy, for example ddp.
        sync_batchnorm: Compute batch norm over all processes; needs GPUs.
        checkpoint_every: Save after every CHECKPOINT_EVERY optimizer steps, as well as
            after every epoch.
        knn_every: Log the accuracy of nearest neighbours after every KNN_EVERY epochs.
        projector: Fill TensorBoard's embedding projector at the end.
        progress: Show a progress bar; where stderr is no terminal, a line an epoch.
    """

    root: str | None = None
    workers: int = 2
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    sync_batchnorm: bool = False
    checkpoint_every: int | None = None
    knn_every: int | None = None
    projector: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        check_count("workers", self.workers, least=0)
        check_count("devices", self.devices)
        check_count("num_nodes", self.num_nodes)
        for name in ("checkpoint_every", "knn_every"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))

    @property
    def processes(self) -> int:
        """Number of processes, over all machines."""
        return self.devices * self.num_nodes


def names_of(settings: type[RunSettings] | type[Execution]) -> set[str]:
    """The names of a dataclass's fields."""
    return {field.name for field in fields(settings)}
