"""A response field for a training run: its start, and its Lightning callback."""

from dataclasses import dataclass
from typing import Literal

import torch

from rkdo_plugin.field import FieldCallback, ResponseField
from rkdo_plugin.field.mixtures import LOG_LINEAR
from rkdo_plugin.field.trust import AUTO
from rkdo_plugin.plugins.host import host
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.field.features import features_by_name

ONE_HOT = "one-hot"
ONE_HOT_COUPLING = 0.5
WARMUP = 0.2  # fraction of the epochs, from a one-hot start


@dataclass(frozen=True)
class FieldSettings:
    """Options of a run's response field.

    Args:
        neighbors: Number of neighbours kept for each image.
        coupling: How far a step moves a row towards the new neighbours; by default 0.5
            from a one-hot start, and 0 with given neighbours.
        final_coupling: The coupling goes along a cosine to this value; constant by
            default.
        field_weight: How far partners follow the field, from 0 to 1: with 0.5 half of
            the partners are the image itself. auto follows given neighbours as far as
            the encoder and their own graph support them. It is the default, but for
            recipes that give the field no embeddings to judge by: there it is 0.5.
        teacher_temperature: Temperature of the softmax over neighbours.
        search: exact, or sampled where there are many images.
        warmup_epochs: Number of epochs without partners; by default a fifth from a
            one-hot start, and none with given neighbours.
        bank: A registered memory bank that keeps the rows.
        mixture: linear, or log-linear, with given neighbours alone: a coupling above 0
            then multiplies powers of old and new probabilities instead of adding them.
    """

    neighbors: int = 8
    coupling: float | None = None
    final_coupling: float | None = None
    field_weight: float | Literal["auto"] | None = None
    teacher_temperature: float = 0.05
    search: str = "exact"
    warmup_epochs: int | None = None
    bank: str = "response-field"
    mixture: str = "linear"


def create_field_callback(
    start: str,
    settings: FieldSettings,
    data: ImageData,
    dim: int,
    epochs: int,
    *,
    initialize: bool = True,
) -> FieldCallback:
    """Create a field for training images, and the callback that updates it.

    Args:
        start: "one-hot", or what finds the first neighbours: "pixels", "pca", "hog", a
            run folder, a checkpoint, an encoder's ONNX file, or a file of features, as
            `features_by_name` takes them.
        settings: Options of the field.
        data: The images.
        dim: D, of the embeddings that the criterion reads.
        epochs: Number of epochs of the run.
        initialize: Find the first neighbours; not needed where a checkpoint has them.

    Raises:
        TypeError: The bank is no `ResponseField`.
        ValueError: An option is outside its range, the start is unknown, or it is
            one-hot and the mixture log-linear.
    """
    one_hot = start == ONE_HOT
    coupling, warmup = settings.coupling, settings.warmup_epochs
    weight = AUTO if settings.field_weight is None else settings.field_weight
    if coupling is None:
        coupling = ONE_HOT_COUPLING if one_hot else 0.0
    if warmup is None:
        warmup = max(1, round(WARMUP * epochs)) if one_hot else 0
    field = host().factory("bank", settings.bank)(
        len(data.train),
        dim,
        neighbors=settings.neighbors,
        coupling=coupling,
        teacher_temperature=settings.teacher_temperature,
        field_weight=weight,
        search=settings.search,
        mixture=settings.mixture,
    )
    if not isinstance(field, ResponseField):
        raise TypeError(
            f"Expected bank '{settings.bank}' to be a ResponseField but got "
            f"{type(field).__name__}"
        )
    if one_hot and field.mixture == LOG_LINEAR:
        raise ValueError(
            "Expected given neighbours with the log-linear mixture, for example "
            f"--field hog, but got --field {ONE_HOT}, which p^(1 - a) q^a never leaves"
        )
    if initialize and not one_hot:
        field.initialize(torch.from_numpy(features_by_name(start, data)))
    return FieldCallback(field, warmup, settings.final_coupling)
