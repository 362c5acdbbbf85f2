"""Make the integer file of an encoder, and search where the plain one fails."""

import dataclasses
from collections.abc import Callable

import onnx

from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.encoder.protocol import ImageEmbedder
from rkdo_plugin.export.file.metadata import CALIBRATED, Precision
from rkdo_plugin.export.file.model_file import ModelFile
from rkdo_plugin.export.int8.build import prepared
from rkdo_plugin.export.int8.cost import advice, cost
from rkdo_plugin.export.int8.kernels import without_kernel
from rkdo_plugin.export.int8.ranges import MIN_MAX, extremes
from rkdo_plugin.export.int8.search import Judged, Search, attempt
from rkdo_plugin.export.int8.styles import (
    is_convolutional,
    plain,
    style_of,
    to_dynamic_int8,
)
from rkdo_plugin.export.verification.distances import NEIGHBORS
from rkdo_plugin.export.verification.judge import Judge
from rkdo_plugin.export.verification.report import Report

HELD_OUT = 4  # without images to judge by, every fourth calibration image is one
MIN_JUDGED = 2 * NEIGHBORS  # with fewer, nobody can tell if neighbours are kept


def integer_file(
    model: onnx.ModelProto,
    precision: Precision,
    calibration: UInt8Array | None,
    images: UInt8Array | None,
    encoder: ImageEmbedder,
    judge: Judge,
    finish: Callable[[onnx.ModelProto], ModelFile],
) -> Judged:
    """Quantise a graph so that it passes its gate, if it can.

    First all layers are quantised, with the ranges that all calibration images show. If
    that fails, a search finds other ranges, and layers that have to stay in float32.

    Args:
        model: The float32 graph.
        precision: A precision in integers.
        calibration: Images that show the ranges of activations, uint8 (N, H, W, C).
            None for "int8-dynamic".
        images: Images to judge by, uint8 (N, H, W, C). None: the search judges by every
            fourth calibration image, and calibrates on the others.
        encoder: The reference.
        judge: Compares files with the reference.
        finish: Makes a file of a quantised graph.

    Returns:
        The file, and its report, which may have failed.

    Raises:
        ValueError: The precision does not suit the encoder, or there are too few images
            to judge by.
    """
    if calibration is None or precision not in CALIBRATED:
        made = finish(to_dynamic_int8(model))
        return made, judge.timed(made, judge.report(made))
    compared = calibration if images is None else images
    made, report = _calibrated(
        model, precision, calibration, images, encoder, judge, finish
    )
    report = judge.timed(made, report)
    if precision == "int8":
        report = _with_kernels(made, report)
        if not is_convolutional(model):
            dynamic = finish(to_dynamic_int8(model))
            other = judge.report(dynamic)
            note = advice(made, report, dynamic, other, compared)
            report = dataclasses.replace(report, notes=(*report.notes, note))
    return made, report


def _calibrated(
    model: onnx.ModelProto,
    precision: Precision,
    calibration: UInt8Array,
    images: UInt8Array | None,
    encoder: ImageEmbedder,
    judge: Judge,
    finish: Callable[[onnx.ModelProto], ModelFile],
) -> Judged:
    """Quantise all layers; if that fails, search."""
    style, graph = style_of(precision), prepared(model)
    ranges = extremes(graph, style.operators, calibration)
    simple = finish(plain(graph, ranges[MIN_MAX], style))
    first = judge.report(simple)
    if first.passed:
        return simple, first
    known = {(simple.content, simple.weights): first}
    if images is None:
        images = calibration[::HELD_OUT]
        kept = [place for place in range(len(calibration)) if place % HELD_OUT]
        calibration = calibration[kept]
        ranges = extremes(graph, style.operators, calibration)
        judge, known = Judge(encoder, images), {}
    _require_judges(images, first)

    def judged(graph: onnx.ModelProto) -> Judged:
        file = finish(graph)
        return file, known.get((file.content, file.weights)) or judge.report(file)

    made, report = Search(graph, calibration, ranges, style, judged).run()
    tried = (attempt(f"{MIN_MAX}, plain", first), *report.tried)
    notes: tuple[str, ...] = ()
    if report.passed and precision == "int8":
        notes = cost(finish(model), simple, made, images)
    return made, dataclasses.replace(report, tried=tried, notes=notes)


def _require_judges(images: UInt8Array, report: Report) -> None:
    """Check that there are enough images to choose layers by."""
    if len(images) < MIN_JUDGED:
        reasons = "; ".join(report.failures)
        raise ValueError(
            f"Expected at least {MIN_JUDGED} images to judge int8 files by, beside "
            f"those for calibration, but got {len(images)}; pass more. They are needed "
            f"because the plain file failed: {reasons}"
        )


def _with_kernels(made: ModelFile, report: Report) -> Report:
    """Add the layers that onnxruntime cannot compute in integers to a report."""
    kept = report.float_layers
    found = [
        name
        for name in without_kernel(made.content)
        if not any(layer in name.split() for layer in kept)
    ]
    return dataclasses.replace(report, float_layers=(*kept, *found))
