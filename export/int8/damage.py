"""Measure what each layer's 8 bits do to the embeddings."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnxruntime.quantization.calibrate import TensorsData

from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.metadata import INPUT, OUTPUT
from rkdo_plugin.export.int8.build import Style, mixed
from rkdo_plugin.export.int8.layers import Layer
from rkdo_plugin.export.verification.distances import Embeddings, distances

IMAGES = 8  # more change the order of the layers little, and take time for each layer


def damages(
    model: onnx.ModelProto,
    ranges: TensorsData,
    style: Style,
    layers: Sequence[Layer],
    images: UInt8Array,
) -> npt.NDArray[np.float64]:
    """Measure the mean 1 - cosine of the embeddings if one layer alone has 8 bits.

    Args:
        model: The float32 graph, prepared for the quantiser.
        ranges: Ranges of the tensors.
        style: How activations and weights are quantised.
        layers: The layers (L,).
        images: Calibration images, uint8 (N, H, W, C).

    Returns:
        The damage of each layer (L,).
    """
    few = images[:: max(1, len(images) // IMAGES)][:IMAGES]
    reference = _embed(model, few)
    return np.array(
        [
            distances(
                reference,
                _embed(mixed(model, ranges, style, only=layer.nodes), few),
            ).one_minus_cosine.mean()
            for layer in layers
        ]
    )


def _embed(model: onnx.ModelProto, images: UInt8Array) -> Embeddings:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (embeddings,) = session.run([OUTPUT], {INPUT: images})
    return np.asarray(embeddings, np.float64)
