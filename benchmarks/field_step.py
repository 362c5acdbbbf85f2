"""What a response field adds to a training step.

    python benchmarks/field_step.py [ROUNDS]

SimCLR with the small convnet on the first 10,000 images of Fashion-MNIST, B = 256, one
thread, images augmented in the process itself; steps from the end of one to the end of
the next, loading and all callbacks included. The arms take turns, and processor time is
counted, so that other processes on the machine disturb little. Every arm is as after
its first epoch: the rows are filled, and the field has seen every image. Prints
milliseconds a step, the median over all rounds, and their ratio to a step without a
field. Takes about
4 minutes with the default of 6 rounds of 12 steps.
"""

import sys
import time
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from rkdo_plugin import FieldCallback, FieldPairs, ResponseField
from rkdo_plugin.plugins.create import create_recipe
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.field.features import features_by_name
from rkdo_plugin.recipes.simclr import SimCLR
from rkdo_plugin.recipes.training.batches import TwoViews
from rkdo_plugin.recipes.training.loader import StepLoader
from rkdo_plugin.recipes.training.logs import quiet_lightning
from rkdo_plugin.recipes.views.transforms import two_views

IMAGES = 10_000
BATCH_SIZE = 256
STEPS = 12  # of a round; the first is not counted
COUPLINGS = {
    "no field": None,
    "pixels, coupling 0": 0.0,
    "pixels, coupling 0.1": 0.1,
    "one-hot, coupling 0.5": 0.5,
}


class StepTimes(pl.Callback):
    """Milliseconds between the same moments of two steps."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self.last: float | None = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Forget the last step of the round before."""
        self.last = None

    def on_before_zero_grad(
        self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: Any
    ) -> None:
        """Note the time since the last step."""
        now = time.process_time()
        if self.last is not None:
            self.milliseconds.append(1000 * (now - self.last))
        self.last = now


@dataclass
class Arm:
    """A run that goes on, some steps at a time."""

    recipe: pl.LightningModule
    loader: StepLoader
    callbacks: list[pl.Callback]
    times: StepTimes = field(default_factory=StepTimes)

    def advance(self) -> None:
        """Train for `STEPS` steps."""
        with quiet_lightning():
            pl.Trainer(
                accelerator="cpu",
                max_epochs=1,
                limit_train_batches=STEPS,
                callbacks=[*self.callbacks, self.times],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            ).fit(self.recipe, self.loader)


def open_arm(data: ImageData, coupling: float | None, features: Any) -> Arm:
    """A run without a field where no coupling is given."""
    recipe = create_recipe("simclr", in_channels=data.channels, image_size=28)
    views = two_views(data)
    if coupling is None:
        loader = StepLoader(TwoViews(data.train, views), BATCH_SIZE, seed=0)
        return Arm(recipe, loader, [])
    # "auto" would draw no partners in the first epoch, which every round is. The
    # evidence for it is gathered with a fixed weight, too.
    bank = ResponseField(
        len(data.train), SimCLR.output_dim, coupling=coupling, field_weight=0.5
    )
    bank.initialize(features)
    # Each round trains on the same few images. Without the others' embeddings the
    # search would be over these alone, as in a first epoch.
    bank.update(
        torch.arange(IMAGES), torch.randn(IMAGES, SimCLR.output_dim), coupling=0
    )
    pairs = FieldPairs(data.train, views, bank)
    loader = StepLoader(pairs, BATCH_SIZE, seed=0, field=bank)
    return Arm(recipe, loader, [FieldCallback(bank)])


def main(rounds: int) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    data = load_data("fashion-mnist", limit=IMAGES)
    features = torch.from_numpy(np.asarray(features_by_name("pixels", data)))
    arms = {name: open_arm(data, a, features) for name, a in COUPLINGS.items()}
    for _ in range(rounds):
        for arm in arms.values():
            arm.advance()
    plain = median(arms["no field"].times.milliseconds)
    for name, arm in arms.items():
        step = median(arm.times.milliseconds)
        print(f"{name:22} {step:7.1f} ms  {step / plain:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
