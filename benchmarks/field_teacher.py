"""A small network learns from a large one: by neighbours, by distillation, or by both.

    python benchmarks/field_teacher.py run RESULTS.jsonl --cifar10 FOLDER
    python benchmarks/field_teacher.py report RESULTS.jsonl

No pretrained network is downloaded. One half of CIFAR-10's training images, with their
labels, trains the teacher, a ResNet-18 for small images. The student is a small convnet
that sees 10,000 images of the other half, without labels. FOLDER holds CIFAR-10 as
train/CLASS/*.jpg and test/CLASS/*.jpg. The teacher's features are kept beside the
results. Runs that are in RESULTS.jsonl are not repeated; `--part 0/2` and `--part 1/2`
share them between two processes, once the teacher is there.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytorch_lightning as pl
import torch
from held import HeldImages, hold, load_held
from held_run import LAYOUT, run_arm
from numpy.typing import NDArray
from results import Rows, append, difference, read, scores_of, spread
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Subset

from rkdo_plugin.export import Encoder
from rkdo_plugin.plugins.create import create_encoder
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.draw import draw, files_of
from rkdo_plugin.recipes.data.images import ImageData, as_arrays
from rkdo_plugin.recipes.encoders.feature_dim import feature_dim
from rkdo_plugin.recipes.evaluation.accuracy import evaluate
from rkdo_plugin.recipes.simclr import SimCLR
from rkdo_plugin.recipes.training.settings import RunSettings

IMAGES = 10_000
EPOCHS = 15
TEMPERATURE = 0.2
BATCH = 256
TEACHER = "teacher"
FIELDS: dict[str, dict[str, str | float]] = {
    "auto": {},
    "weight 0.5": {"field_weight": 0.5},
    "weight 1": {"field_weight": 1.0},
}
ARMS = {
    "SimCLR": (None, 0.0, True),
    "SimCLR, teacher's neighbours": ("auto", 0.0, True),
    "distillation": (None, 1.0, False),
    "SimCLR and distillation": (None, 1.0, True),
    "SimCLR, teacher's neighbours and distillation": ("auto", 1.0, True),
    "SimCLR, teacher's neighbours, weight 0.5": ("weight 0.5", 0.0, True),
    "SimCLR, teacher's neighbours, weight 1": ("weight 1", 0.0, True),
}
"""The field's weight, the distillation's, and whether there is a contrast, by name."""


class Distilled(nn.Module):
    """A criterion with a cosine regression of both views onto a teacher's features.

        L(z0, z1) + w mean_i ((1 - cos(z0_i, t_i)) + (1 - cos(z1_i, t_j(i)))) / 2

    Args:
        criterion: L; None for the regression alone.
        targets: Of all samples, (N, D).
        weight: w.
    """

    def __init__(
        self, criterion: nn.Module | None, targets: Tensor, weight: float
    ) -> None:
        super().__init__()
        self.criterion = criterion
        self.weight = weight
        self.register_buffer("targets", targets, persistent=False)
        self.samples: list[Tensor] = []

    def forward(self, z0: Tensor, z1: Tensor) -> Tensor:
        """The loss of a step whose views are of `samples`."""
        cosines = [
            functional.cosine_similarity(z, self.targets[ids]).mean()
            for z, ids in zip((z0, z1), self.samples, strict=True)
        ]
        loss = self.weight * (1 - torch.stack(cosines).mean())
        return loss if self.criterion is None else loss + self.criterion(z0, z1)


class Distil(pl.Callback):
    """Put `Distilled` in the place of a recipe's criterion, and name it the samples."""

    def __init__(self, targets: Tensor, weight: float, contrast: bool) -> None:
        self.targets, self.weight, self.contrast = targets, weight, contrast

    def setup(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str
    ) -> None:
        """Swap, before the field's callback looks for the criterion."""
        criterion = pl_module.criterion if self.contrast else None
        pl_module.criterion = Distilled(criterion, self.targets, self.weight)

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: tuple[list[Tensor], Tensor, Tensor, Tensor],
        batch_idx: int,
    ) -> None:
        """Note whose views the batch holds."""
        _, _, index, partner = batch
        pl_module.criterion.samples = [index, partner]


def main(arguments: list[str] | None = None) -> None:
    """Run, or report what was run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--cifar10", metavar="FOLDER", required=True)
    run.add_argument("--part", default="0/1", metavar="I/N")
    run.add_argument("--images", type=int, default=IMAGES, help="of the student")
    run.add_argument("--epochs", type=int, default=EPOCHS, help="of the student")
    run.add_argument("--seeds", type=int, default=3, help="number of seeds")
    run.add_argument("--teacher", default="resnet18-small", help="its network")
    run.add_argument("--teacher-epochs", type=int, default=8)
    for command in (run, commands.add_parser("report")):
        command.add_argument("results", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "run":
        run_part(options)
    print(report(read(options.results)))


def run_part(options: argparse.Namespace) -> None:
    """Train and evaluate every N-th run that is not in the file yet."""
    torch.set_num_threads(1)
    features = teacher_features(options)
    student = load_held(options.cifar10, limit=options.images)
    part, parts = map(int, options.part.split("/"))
    runs = [(name, seed) for seed in range(options.seeds) for name in ARMS]
    for name, seed in runs[part::parts]:
        if (name, options.epochs, seed) in read(options.results):
            continue
        weight, distilled, contrast = ARMS[name]
        settings = RunSettings(
            recipe="simclr",
            loss="icon",
            loss_options={"temperature": TEMPERATURE},
            encoder="small-convnet",
            data="cifar10",
            field=None if weight is None else TEACHER,
            field_options=None if weight is None else FIELDS[weight],
            batch_size=min(BATCH, options.images),
            epochs=options.epochs,
            augment="batches",
            seed=seed,
        )
        distil = Distil(leading(features, SimCLR.output_dim), distilled, contrast)
        scores = run_arm(
            settings,
            student,
            features=None if weight is None else features,
            callbacks=[distil] if distilled else [],
        )
        row = {"name": name, "epochs": options.epochs, "seed": seed}
        append(options.results, row | scores)


def leading(features: NDArray[np.float32], dim: int) -> Tensor:
    """The features' principal part (N, dim); zeros beyond their own dimensions."""
    centred = torch.from_numpy(features - features.mean(axis=0))
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    return functional.pad(centred @ axes[:dim].T, (0, max(0, dim - len(axes))))


def teacher_features(options: argparse.Namespace) -> NDArray[np.float32]:
    """Features (N, F) of the student's images, from the file or a new teacher."""
    file = options.results.with_suffix(".teacher.npy")
    if not file.exists():
        data = load_data(options.cifar10)
        half = len(data.train) // 2
        theirs = set(map(str, files_of(draw(data.train, half, 0)) or []))
        rest = [
            i for i, f in enumerate(files_of(data.train) or []) if str(f) not in theirs
        ]
        student = load_held(options.cifar10, limit=options.images)
        labelled = hold(replace(data, train=Subset(data.train, rest)))
        encoder = train_teacher(labelled, options.teacher, options.teacher_epochs)
        row = {"name": TEACHER, "epochs": options.teacher_epochs, "seed": 0}
        append(options.results, row | evaluate(encoder.embed, student))
        pixels, _ = as_arrays(student.train, student.image_size)
        np.save(file, encoder.embed(pixels))
    features: NDArray[np.float32] = np.load(file)
    return features


def train_teacher(data: ImageData, name: str, epochs: int) -> Encoder:
    """Train with labels: random crops and flips, one cycle of the learning rate."""
    assert isinstance(data.train, HeldImages)
    torch.manual_seed(0)
    backbone = create_encoder(name, in_channels=data.channels).to(memory_format=LAYOUT)
    images = torch.from_numpy(data.train.pixels).permute(0, 3, 1, 2)
    labels = torch.from_numpy(data.train.targets)
    mean, std = (torch.tensor(v)[:, None, None] for v in (data.mean, data.std))
    width = feature_dim(backbone, data.channels, data.image_size)
    classifier = nn.Linear(width, data.num_classes)
    parameters = [*backbone.parameters(), *classifier.parameters()]
    optimizer = torch.optim.SGD(
        parameters, lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    steps = -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, epochs * steps)
    backbone.train()
    for epoch in range(epochs):
        losses = []
        for batch in torch.randperm(len(images)).split(BATCH):
            views = cropped((images[batch] / 255 - mean) / std)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                scores = classifier(backbone(views.contiguous(memory_format=LAYOUT)))
            loss = functional.cross_entropy(scores.float(), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(
            f"teacher, epoch {epoch + 1} of {epochs}: {fmean(losses):.3f}", flush=True
        )
    return Encoder(backbone, image_size=data.image_size, mean=data.mean, std=data.std)


def cropped(images: Tensor) -> Tensor:
    """Move each image (B, C, H, W) by up to 4 pixels, and flip half of them."""
    padded = functional.pad(images, (4, 4, 4, 4))
    height, width = images.shape[2:]
    top, left = torch.randint(9, (2, len(images), 1))
    rows = top + torch.arange(height)
    columns = left + torch.arange(width)
    flip = torch.rand(len(images), 1) < 0.5
    columns = torch.where(flip, columns.flip(1), columns)
    which = torch.arange(len(images))[:, None, None]
    return padded.permute(0, 2, 3, 1)[
        which, rows[:, :, None], columns[:, None]
    ].permute(0, 3, 1, 2)


def report(rows: Rows) -> str:
    """Means over the seeds, as Markdown, with differences to SimCLR."""
    lines = [
        "| student | kNN | less SimCLR's, 95 % interval | linear | step, of SimCLR's |",
        "|---|---|---|---|---|",
    ]
    epochs = max((e for name, e, _ in rows if name in ARMS), default=0)
    alone = scores_of(rows, "SimCLR", epochs, "knn")
    pace = scores_of(rows, "SimCLR", epochs, "cpu")
    for name in ARMS:
        knn = scores_of(rows, name, epochs, "knn")
        if not knn:
            continue
        shared = len(alone.keys() & knn.keys()) > 1 and name != "SimCLR"
        ahead = difference(knn, alone).replace(" | ", ", ") if shared else ""
        cost = scores_of(rows, name, epochs, "cpu").values()
        ratio = fmean(cost) / fmean(pace.values()) if pace else float("nan")
        linear = spread(scores_of(rows, name, epochs, "linear"))
        lines.append(f"| {name} | {spread(knn)} | {ahead} | {linear} | {ratio:.2f} |")
    for (name, epochs, _), row in rows.items():
        if name == TEACHER:
            lines.append(
                f"\nThe teacher, {epochs} epochs, on the student's task: kNN "
                f"{100 * row['knn']:.2f}, linear {100 * row['linear']:.2f}."
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
