"""Keep the fewest layers in float32 that let an int8 graph pass its gate."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx
from onnxruntime.quantization.calibrate import TensorsData

from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.model_file import ModelFile
from rkdo_plugin.export.graph.build import strip
from rkdo_plugin.export.int8.build import Style, mixed
from rkdo_plugin.export.int8.damage import damages
from rkdo_plugin.export.int8.layers import Layer, layers_of, nodes_of, share, strays
from rkdo_plugin.export.int8.ranges import MIN_MAX, from_histograms
from rkdo_plugin.export.verification.attempts import Attempt
from rkdo_plugin.export.verification.report import Report

MAX_SHARE = 0.5  # of the multiply-adds in float32; with more, 8 bits gain little

Judged = tuple[ModelFile, Report]


class Search:
    """Tries ranges of activations, then layers in float32, until a graph passes.

    The ranges come first, with all layers in integers. Then the most damaging layers
    stay in float32, with the best ranges: as many as may, and if that passes 1, 2, 4,
    ... until a graph passes. The smallest number between is found by halving. If
    nothing passes, the same is tried with the ranges of all values. The damage of each
    layer is measured alone.

    Args:
        model: The float32 graph, prepared for the quantiser.
        calibration: Images that show the ranges, uint8 (N, H, W, C).
        ranges: The ranges of their smallest and largest values, by the method's name.
        style: How numbers become integers.
        judge: Makes a file of a graph, and compares it with the encoder on images that
            are not the calibration's.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        calibration: UInt8Array,
        ranges: dict[str, TensorsData],
        style: Style,
        judge: Callable[[onnx.ModelProto], Judged],
    ) -> None:
        self._model, self._calibration = model, calibration
        self._extremes, self._style, self._judge = ranges, style, judge
        self._layers = layers_of(model, style.operators, calibration[:1])
        self._strays = strays(model, style.operators, self._layers)
        self._tried: list[Attempt] = []

    def run(self) -> Judged:
        """Return the smallest passing file, or the closest one if none passes.

        The report holds the table of what was tried.
        """
        found: dict[str, TensorsData] = {}
        attempts: dict[str, Judged] = {}
        for method, ranges in self._ranges():
            found[method] = ranges
            attempts[method] = self._attempt(method, ranges)
            if attempts[method][1].passed:
                return self._told(attempts[method])
        best = min(attempts, key=lambda method: attempts[method][1].strain)
        # Ranges that leave values out may be the best only as long as no layer is kept.
        for method in dict.fromkeys((best, MIN_MAX)):
            order = self._by_damage(found[method])
            narrowed = self._narrow(method, found[method], order)
            if narrowed is not None:
                count, judged = narrowed
                return self._told(judged, order[:count])
        return self._told(attempts[best])

    def _ranges(self) -> Iterator[tuple[str, TensorsData]]:
        """The ranges of each method, the quickest first."""
        yield from self._extremes.items()
        yield from from_histograms(
            self._model, self._style.operators, self._calibration
        )

    def _by_damage(self, ranges: TensorsData) -> list[Layer]:
        """Order the layers by their damage for what it costs to keep them in float32.

        The cost is a layer's share of all multiply-adds, and of the number of layers.
        Layers that would lead beyond the largest share are left out.
        """
        layers = self._layers
        harm = damages(self._model, ranges, self._style, layers, self._calibration)
        price = [self._share([layer]) + 1 / len(layers) for layer in layers]
        order: list[Layer] = []
        for place in np.argsort(-harm / price, kind="stable"):
            if self._share([*order, layers[place]]) <= MAX_SHARE:
                order.append(layers[place])
        return order

    def _narrow(
        self, method: str, ranges: TensorsData, order: list[Layer]
    ) -> tuple[int, Judged] | None:
        """Find the smallest number of layers in float32 that passes, and its file."""
        judged = self._attempt(method, ranges, order)
        if not judged[1].passed:
            return None
        low, passing = 0, (len(order), judged)  # `low` layers are too few
        while passing[0] - low > 1:
            count = min(max(1, 2 * low), (low + passing[0]) // 2)
            judged = self._attempt(method, ranges, order[:count])
            if judged[1].passed:
                passing = (count, judged)
            else:
                low = count
        return passing

    def _attempt(
        self, method: str, ranges: TensorsData, floats: Sequence[Layer] = ()
    ) -> Judged:
        graph = mixed(
            self._model,
            ranges,
            self._style,
            without=[*nodes_of(floats), *self._strays],
        )
        strip(graph)
        made, report = self._judge(graph)
        self._tried.append(attempt(method, report, len(floats), self._share(floats)))
        return made, report

    def _told(self, judged: Judged, floats: Sequence[Layer] = ()) -> Judged:
        made, report = judged
        return made, dataclasses.replace(
            report,
            float_layers=tuple(layer.name for layer in floats),
            float_share=self._share(floats),
            layers=len(self._layers),
            tried=tuple(self._tried),
        )

    def _share(self, floats: Sequence[Layer]) -> float:
        return share(self._layers, floats)


def attempt(method: str, report: Report, layers: int = 0, part: float = 0.0) -> Attempt:
    """Say what came of a graph, with this many layers and multiply-adds in float32."""
    return Attempt(
        method,
        layers,
        part,
        report.max_one_minus_cosine,
        report.mean_one_minus_cosine,
        report.neighbors_kept,
        report.strain,
    )
