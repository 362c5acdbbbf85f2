"""The training step of benchmarks/gpu.py: where the views are made, and a field."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from gpu_rows import NO_TIME, OUT_OF_MEMORY, Budget, Clock, Row, Sizes
from PIL import Image

from rkdo_plugin.export.encoder.images import sample_images
from rkdo_plugin.plugins.create import create_recipe
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.training.batches import open_loader
from rkdo_plugin.recipes.training.logs import quiet_lightning
from rkdo_plugin.recipes.training.settings import RunSettings

SECTION = "training"
AUGMENT = {"images": "Lightly's transforms", "batches": "batched views"}
UNCOUNTED = 3  # steps of each arm
DECODED = 8 / 7  # side of the decoded image over that of the view, 256 over 224
PICTURES = 64  # different ones
MOST_WORKERS = 16


def training(clock: Clock, sizes: Sizes, budget: Budget) -> Iterator[Row]:
    """SimCLR in bf16-mixed, with Lightning's trainer and this package's loader."""
    data = pictures(sizes)
    size = f"{sizes.training_encoder}, B = {sizes.training_batch}"
    for augment, views in AUGMENT.items():
        for start in (None, "one-hot"):
            row = Row(SECTION, arm(views, start), size)
            if budget.left < 0:
                row.note = NO_TIME
            else:
                train(row, clock, sizes, data, augment, start)
            yield row


def arm(views: str, start: str | None) -> str:
    """The name of a row."""
    return f"{views}, {'no field' if start is None else 'field'}"


def pictures(sizes: Sizes) -> ImageData:
    """Decoded pictures in memory, so that no disk and no decoder is measured."""
    side = round(DECODED * sizes.training_image)
    images = [Image.fromarray(each) for each in sample_images(PICTURES, side, 3)]
    count = sizes.training_batch * (UNCOUNTED + sizes.training_steps)
    return ImageData(
        name="generated",
        train=[(images[number % PICTURES], 0) for number in range(count)],
        test=[],
        image_size=sizes.training_image,
        channels=3,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        num_classes=0,
    )


class Steps(pl.Callback):
    """When each step's batch was there, and when its step was done.

    On a GPU both are events of its stream: the time between them is the device's. As
    long as no batch has arrived, the device waits.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.moments: list[tuple[Any, Any]] = []
        self.before = 0
        self._arrived: Any = None

    def now(self) -> Any:
        """The device's time."""
        if not self.clock.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        """Seconds."""
        if not self.clock.on_gpu:
            return float(end - start)
        return start.elapsed_time(end) / 1000

    def arrived(self, batch: Any, dataloader_idx: int) -> Any:
        """Stands for the recipe's `on_before_batch_transfer`."""
        self._arrived = self.now()
        return batch

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Watch the batches, and the memory."""
        module.on_before_batch_transfer = self.arrived
        self.before = self.clock.start_memory()

    def on_train_batch_end(self, *_: Any) -> None:
        """The step is done, the field's update included."""
        self.moments.append((self._arrived, self.now()))

    def fill(self, row: Row, batch: int) -> None:
        """Write down what the counted steps took."""
        row.mebibytes = self.clock.peak_memory(self.before)
        counted = self.moments[UNCOUNTED:]
        # From the end of the last step that is not counted.
        whole = self.between(self.moments[UNCOUNTED - 1][1], counted[-1][1])
        busy = sum(self.between(*moments) for moments in counted)
        row.milliseconds = 1000 * whole / len(counted)
        row.rate = batch * len(counted) / whole
        row.waits = max(0.0, 1 - busy / whole)


def train(
    row: Row,
    clock: Clock,
    sizes: Sizes,
    data: ImageData,
    augment: Any,
    start: str | None,
) -> None:
    """Run one arm, and fill its row."""
    # Given neighbours, of which every second one is drawn: random ones cost as much.
    options = {"field_weight": 0.5, "coupling": 0.5, "warmup_epochs": 0}
    settings = RunSettings(
        data=data.name,
        field=start,
        field_options=options if start else None,
        augment=augment,
        batch_size=sizes.training_batch,
        epochs=1,
    )
    recipe: Any = create_recipe(
        "simclr",
        encoder=sizes.training_encoder,
        in_channels=3,
        image_size=sizes.training_image,
    )
    workers = min(MOST_WORKERS, os.cpu_count() or 1) if clock.on_gpu else 0
    callbacks: list[Any]
    loader, callbacks = open_loader(recipe, data, settings, workers, resumed=False)
    for callback in callbacks:
        callback.field.initialize(torch.randn(len(data.train), 8))
    steps = Steps(clock)
    with quiet_lightning():
        trainer = pl.Trainer(
            accelerator="gpu" if clock.on_gpu else "cpu",
            devices=1,
            precision="bf16-mixed",
            max_epochs=1,
            callbacks=[*callbacks, steps],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            trainer.fit(recipe, loader)
            steps.fill(row, sizes.training_batch)
        except torch.OutOfMemoryError:
            row.note = OUT_OF_MEMORY
            torch.cuda.empty_cache()
