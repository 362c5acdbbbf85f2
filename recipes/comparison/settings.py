"""The settings of a comparison: what all contenders share."""

from dataclasses import dataclass, field

from rkdo_plugin.export.encoder.image_size import optional_image_size
from rkdo_plugin.options import check_count, check_positive, choose

FIRST_TUNING_SEED = 1000  # the seeds of the result are below it
LENGTHS = (0.25, 0.5, 1.0)
FACTORS = (1.0, 0.5)
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class ComparisonSettings:
    """What all contenders share.

    Args:
        budget: Optimizer steps of the longest runs; the whole number of epochs that
            comes closest is trained.
        recipe: A registered recipe, for example simclr, byol or moco.
        data: digits, fashion-mnist, cifar10, cifar100, stl10, or a folder of images.
        seeds: Number of runs of each contender at each length, with seeds from 0.
        lengths: Fractions of the budget. Each is a complete run of its own, whose
            learning rate has decayed at its end.
        temperatures: The grid's multiples of a loss's own temperature.
        learning_rates: The grid's multiples of the recipe's own learning rate.
        tuning_seeds: Runs of each point of the grid, with seeds from 1000.
        encoder: A registered encoder, for example resnet18, timm:NAME or run:FOLDER;
            the recipe's own by default.
        batch_size: Images in a step.
        limit: Compare on LIMIT training images only, drawn evenly from all classes.
        image_size: Height and width in pixels that the encoder reads, as 224 or
            256x128; those of the data by default.
        precision: Lightning's precision: 32-true, bf16-mixed or 16-mixed.
    """

    budget: int
    recipe: str = "simclr"
    data: str = "digits"
    seeds: int = 5
    lengths: list[float] = field(default_factory=lambda: [*LENGTHS])
    temperatures: list[float] = field(default_factory=lambda: [*FACTORS])
    learning_rates: list[float] = field(default_factory=lambda: [*FACTORS])
    tuning_seeds: int = 2
    encoder: str | None = None
    batch_size: int = 256
    limit: int | None = None
    image_size: int | str | None = None
    precision: str = "32-true"

    def __post_init__(self) -> None:
        for name in ("budget", "seeds", "tuning_seeds", "batch_size"):
            check_count(name, getattr(self, name))
        if self.limit is not None:
            check_count("limit", self.limit)
        if self.seeds > FIRST_TUNING_SEED:
            raise ValueError(
                f"Expected `seeds` to be at most {FIRST_TUNING_SEED}, where the seeds "
                f"of the tuning begin, but got {self.seeds}"
            )
        for name in ("lengths", "temperatures", "learning_rates"):
            values = getattr(self, name)
            for value in values:
                check_positive(name, value)
            if not values or len({*values}) < len(values):
                raise ValueError(
                    f"Expected `{name}` to be different numbers but got {values}"
                )
        if max(self.lengths) != 1:
            raise ValueError(
                "Expected `lengths` to be fractions of the budget, 1 the largest of "
                f"them, but got {self.lengths}"
            )
        optional_image_size(self.image_size)
        choose("precision", self.precision, PRECISIONS)

    def epochs(self, steps_an_epoch: int) -> list[int]:
        """The epochs of each length, from short to long, that come closest to it.

        Args:
            steps_an_epoch: Optimizer steps of an epoch.

        Raises:
            ValueError: Two lengths are the same number of epochs.
        """
        lengths = sorted(self.lengths)
        epochs = [closest(self.budget * each, steps_an_epoch) for each in lengths]
        if len({*epochs}) < len(epochs):
            raise ValueError(
                f"Expected a `budget` of which {lengths} are different whole numbers "
                f"of epochs but got {self.budget} steps, with {steps_an_epoch} an "
                f"epoch; {round(steps_an_epoch / lengths[0])} are enough, or choose "
                "fewer `lengths`"
            )
        return epochs


def closest(steps: float, steps_an_epoch: int) -> int:
    """The number of epochs, at least one, that comes closest to a number of steps."""
    return max(1, round(steps / steps_an_epoch))
