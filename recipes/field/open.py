"""A response field for a training run: its start, and what Lightning does with it."""

import torch

from rkdo_plugin.field import FieldCallback, ResponseField
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.field.features import features_by_name

ONE_HOT = "one-hot"
ONE_HOT_COUPLING = 0.5
WARMUP = 0.2  # fraction of the epochs, from a one-hot start


def open_field(
    start: str,
    data: ImageData,
    dim: int,
    epochs: int,
    *,
    initialize: bool = True,
    neighbors: int = 8,
    coupling: float | None = None,
    final_coupling: float | None = None,
    field_weight: float | None = None,
    teacher_temperature: float = 0.05,
    search: str = "exact",
    warmup_epochs: int | None = None,
) -> FieldCallback:
    """Create a field for a data set's training images, and its callback.

    Args:
        start: one-hot, or what finds the first neighbours: pixels, pca, hog, a run
            folder, a checkpoint, an encoder's ONNX file, or a .npy file of features.
        data: The images.
        dim: Of the embeddings that the criterion reads.
        epochs: Of the run.
        initialize: Find the first neighbours; not needed where a checkpoint has them.
        neighbors: Entries kept of a row.
        coupling: How far a step moves a row; by default 0.5 from one-hot, and 0 with
            given neighbours.
        final_coupling: The coupling goes along a cosine to this value; constant by
            default.
        field_weight: How far partners follow the field, from 0 to 1; by default 0.5
            from one-hot, and 1 with given neighbours.
        teacher_temperature: Of the softmax over neighbours.
        search: exact, or sampled where there are many images.
        warmup_epochs: Epochs without partners; by default a fifth from one-hot, and
            none with given neighbours.
    """
    one_hot = start == ONE_HOT
    if coupling is None:
        coupling = ONE_HOT_COUPLING if one_hot else 0.0
    if field_weight is None:
        field_weight = 0.5 if one_hot else 1.0
    if warmup_epochs is None:
        warmup_epochs = max(1, round(WARMUP * epochs)) if one_hot else 0
    field = ResponseField(
        len(data.train),
        dim,
        neighbors=neighbors,
        coupling=coupling,
        teacher_temperature=teacher_temperature,
        field_weight=field_weight,
        search=search,
    )
    if initialize and not one_hot:
        field.initialize(torch.from_numpy(features_by_name(start, data)))
    return FieldCallback(field, warmup_epochs, final_coupling)
