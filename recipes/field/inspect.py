"""Inspect what a run's response field has learnt: what `rkdo inspect-field` does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rkdo_plugin.export.encoder.image_size import optional_image_size
from rkdo_plugin.field import FieldCallback, FieldPairs, ResponseField
from rkdo_plugin.field.saved_state import EXTRA
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.draw import labels_of
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.evaluation.accuracy import knn_accuracy
from rkdo_plugin.recipes.evaluation.run_folder import (
    CHECKPOINT,
    CONFIG,
    read_config,
    read_run,
)
from rkdo_plugin.recipes.field.create import ONE_HOT
from rkdo_plugin.recipes.field.features import fit_features
from rkdo_plugin.recipes.field.purity import (
    FieldPurity,
    chance_purity,
    moved_mass,
)

READ = ("data", "limit", "seed", "image_size")  # settings that say what the images are


@dataclass(frozen=True)
class FieldReport:
    """All figures of a run's field.

    Attributes:
        data: Name of the data.
        start: The start p_0, as `--field` named it.
        num_samples: N.
        valid: Share of the samples that have an embedding.
        row_entropy: Mean entropy of the rows, in nats, their self mass included.
        self_mass: Mean self mass of the rows.
        trust: How far the given neighbours deserve to be followed, from 0 to 1.
        likeness: How far they pass for second views; None before any evidence.
        returned: Share of their edges that are returned.
        doubted: Share of the edges that no evidence supports.
        moved: Mean total variation distance of a row from p_0; None if not computed.
        chance: Purity of random rows; None without labels.
        field: Purity of the rows; None without labels.
        p0: Purity of the first rows; None without labels or from a one-hot start.
        p0_knn: Accuracy of nearest neighbours by the features of p_0 on the test
            images; None without such features or images.
        test_images: Number of test images.
    """

    data: str
    start: str
    num_samples: int
    valid: float
    row_entropy: float
    self_mass: float
    trust: float
    likeness: float | None
    returned: float
    doubted: float
    moved: float | None
    chance: float | None
    field: FieldPurity | None
    p0: FieldPurity | None
    p0_knn: float | None
    test_images: int

    @property
    def spread(self) -> float:
        """The number of equal neighbours that have the mean row entropy."""
        return float(np.exp(self.row_entropy))

    @property
    def title(self) -> str:
        """Two lines above the picture of the field, and one that explains it."""
        figures = [
            f"p₀ from {self.start}",
            f"spread {self.spread:.1f}",
            f"self mass {self.self_mass:.2f}",
        ]
        if self.field is not None:
            beside = "" if self.p0 is None else f"p₀ {self.p0.purity:.2f}, "
            figures.append(
                f"purity {self.field.purity:.2f} ({beside}chance {self.chance:.2f})"
            )
        return (
            f"Who is whose neighbour: {self.data}, {self.num_samples:,} images\n"
            + " · ".join(figures)
            + "\nBars and numbers: p(j|i), in sum 1 with the mass that image i keeps. "
            "Spread: as many equal neighbours are as unsure."
        )

    def __str__(self) -> str:
        lines = [
            f"{self.data}: field of {self.num_samples:,} training images, "
            f"p_0 from {self.start}; one run, no spread",
            f"  embedded      {self.valid:.3f} of the samples",
            f"  row entropy   {self.row_entropy:.3f} nats, as of "
            f"{self.spread:.1f} equal neighbours",
            f"  self mass     {self.self_mass:.3f}",
            f"  trust         {self.trust:.3f}, from a likeness of "
            + ("- (no evidence)" if self.likeness is None else f"{self.likeness:.3f}")
            + f" and {self.returned:.3f} of the edges returned; "
            f"{self.doubted:.3f} of the edges doubted",
        ]
        if self.moved is not None:
            lines.append(f"  moved         {self.moved:.3f} of the mass since p_0")
        if self.field is not None:
            rows = {"field": self.field, "p_0": self.p0}
            lines.append(f"{'':16}purity   heaviest neighbour alike")
            lines += [
                f"  {name:14}{values.purity:.4f}   {values.nearest:.4f}"
                for name, values in rows.items()
                if values is not None
            ]
            lines.append(f"  {'chance':14}{self.chance:.4f}   {self.chance:.4f}")
        if self.p0_knn is not None:
            lines.append(
                f"  kNN of the raw p_0 features: {self.p0_knn:.4f} on "
                f"{self.test_images:,} test images"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class RunField:
    """The field of a run, and its images.

    Attributes:
        field: The field, as the run's checkpoint holds it.
        data: The images.
        labels: The classes (N,), int64; None without classes.
        config: The run's settings.
    """

    field: ResponseField
    data: ImageData
    labels: Tensor | None
    config: dict[str, Any]


def load_run_field(run: Path, root: str | None = None) -> RunField:
    """Load the field of a run, and the run's training images.

    Args:
        run: A run folder.
        root: Folder that holds the data sets.

    Raises:
        FileNotFoundError: There is no such run, or its data is not there.
        ValueError: The run has no field, or the images are not those of the run.
    """
    if not (run / CHECKPOINT).is_file():
        raise FileNotFoundError(f"Expected a run folder but {run} has no {CHECKPOINT}")
    config = read_config(run / CONFIG)
    state = _field_state(read_run(run / CHECKPOINT))
    if state is None:
        raise ValueError(
            f"Expected a run with a response field but {run} has none: train one with "
            "--field one-hot, pixels, pca or hog"
        )
    try:
        field = _field_of(state)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"Expected a whole field in {run / CHECKPOINT} but got: {reason}"
        ) from error
    lacking = [name for name in READ if name not in config]
    if lacking:
        raise ValueError(
            f"Expected {run / CONFIG} to hold a run's settings but it lacks "
            + ", ".join(lacking)
        )
    data = load_data(
        config["data"],
        root=root,
        limit=config["limit"],
        seed=config["seed"],
        image_size=optional_image_size(config["image_size"]),
    )
    FieldPairs(data.train, np.asarray, field)  # refuses other images than the run's
    labels = None
    if data.num_classes > 0:
        labels = torch.from_numpy(labels_of(data.train))
    return RunField(field, data, labels, config)


def _field_state(checkpoint: dict[str, Any]) -> Any:
    callbacks = checkpoint.get("callbacks")
    for key, state in callbacks.items() if isinstance(callbacks, dict) else ():
        if str(key).startswith(FieldCallback.__qualname__):
            return state.get("field") if isinstance(state, dict) else None
    return None


def _field_of(state: Any) -> ResponseField:
    (num_samples, neighbors), dim = state["ids"].shape, state["embeddings"].shape[1]
    mixture = state[EXTRA].get("mixture", "linear")  # an older field is refused below
    field = ResponseField(num_samples, dim, neighbors=neighbors, mixture=mixture)
    field.load_state_dict(state)
    for name, values in field.state_dict().items():
        if isinstance(values, Tensor) and not torch.isfinite(values).all():
            raise RuntimeError(f"numbers in {name} that are not finite")
    if min(field.weights.min(), field.self_mass.min()) < 0:
        raise RuntimeError("rows with weights below 0")
    return field


def inspect_field(loaded: RunField, start: bool = True) -> FieldReport:
    """Compute every figure of a run's field.

    Args:
        loaded: The field and its images.
        start: Build p_0 again, to compare with. It takes as long as before training.

    Raises:
        ValueError: The file that p_0 was made from is missing.
    """
    field, data, labels = loaded.field, loaded.data, loaded.labels
    name = loaded.config["field"]
    first, knn = _start(loaded) if start else (None, None)
    return FieldReport(
        data=data.name,
        start=name,
        num_samples=field.num_samples,
        valid=float(field.valid.float().mean()),
        row_entropy=float(field.row_entropy().mean()),
        self_mass=float(field.self_mass.mean()),
        trust=field.trust,
        likeness=field.evidence.likeness,
        returned=float(field.evidence.returned),
        doubted=float(field.doubted.float().mean()),
        moved=None if first is None else float(moved_mass(field, first).mean()),
        chance=None if labels is None else chance_purity(labels),
        field=None if labels is None else FieldPurity.of(field, labels),
        p0=None
        if first is None or labels is None or name == ONE_HOT
        else FieldPurity.of(first, labels),
        p0_knn=knn,
        test_images=len(data.test),
    )


def _start(loaded: RunField) -> tuple[ResponseField, float | None]:
    """p_0 again, and how well its features classify the test images."""
    field, data, config = loaded.field, loaded.data, loaded.config
    options = config["field_options"] or {}
    temperature = options.get("teacher_temperature")
    first = ResponseField(
        field.num_samples,
        dim=1,
        neighbors=field.neighbors,
        **({} if temperature is None else {"teacher_temperature": temperature}),
    )
    if config["field"] == ONE_HOT:
        return first, None
    features, describe = fit_features(config["field"], data)
    first.initialize(torch.from_numpy(features))
    if loaded.labels is None or describe is None or len(data.test) == 0:
        return first, None
    return first, knn_accuracy(
        features, loaded.labels.numpy(), describe(data.test), labels_of(data.test)
    )
