"""The report of a verification: figures, bounds and failures."""

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from rkdo_plugin.export.file.metadata import Precision
from rkdo_plugin.export.verification.attempts import Attempt, table
from rkdo_plugin.export.verification.distances import NAN
from rkdo_plugin.export.verification.gates import GATES, Gate


@dataclass(frozen=True)
class Figure:
    """One line of a report.

    Attributes:
        name: Name of the measured quantity.
        value: The measured value, as printed.
        bound: The gate's bound, as printed. Empty if there is none.
        held: Whether the value is within the bound.
        strain: How much of the bound the value uses up. Above 1 it is beyond.
    """

    name: str
    value: str
    bound: str = ""
    held: bool = True
    strain: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """Every figure of a comparison between an exported file and a reference.

    Figures that were not measured are NaN, and the gate ignores them. If a component of
    an embedding is not finite, the report fails whatever the other figures are.

    Attributes:
        failures: For each check that failed, the expected and the found value.
        compared_with: The reference, in words.
        precision: Arithmetic inside the graph. It selects the gate.
        provider: The provider that ran the file. "nothing" if the file was not run.
        max_abs: Largest |difference| of a component of an embedding.
        max_one_minus_cosine: Largest 1 - cosine of the two embeddings of an image.
        mean_one_minus_cosine: Mean of 1 - cosine over the images.
        max_norm_error: Largest |norm - 1| of an embedding of either side. NaN if the
            encoder does not normalise.
        neighbors_kept: Share of the ten nearest neighbours that are the same on both
            sides, the mean over the images. Neighbours are among the compared images.
        knn: Accuracy of the majority vote of an image's ten nearest neighbours among
            the compared images: the reference's, and the file's. Each image is left out
            of its own vote. NaN without labels. This is not the kNN accuracy of `rkdo
            evaluate`, where 20 neighbours from the training images vote on test images,
            weighted by similarity.
        scale: The number that `max_abs` is relative to. 1 if the encoder normalises;
            otherwise the largest component of the reference's embeddings, but at least
            1.
        finite: Whether every component of both sides is finite.
        batches: Batch sizes that were run.
        images: Number of images compared. Fewer than 43 images are repeated.
        worst: Indices of the images with the largest 1 - cosine, the worst first.
        worst_one_minus_cosine: 1 - cosine of the images in `worst`.
        speed: Time of the reference over time of the file, for all batches but the
            first, in one run on this machine. Both sides use the same number of
            threads.
        sha256: Checksum that the file records of itself.
        file_bytes: Size of the file in bytes, with the weights beside it.
        parameter_bytes: Size of the encoder's parameters in float32. 0 if unknown.
        seconds: Wall-clock time on this machine of the function that returned this
            report.
        float_layers: Names of the layers of an int8 graph that compute in float32.
        float_share: Their share of the multiply-adds.
        layers: Number of all layers of that graph.
        tried: What a search for an int8 graph tried. Empty if it was not needed.
        notes: What else is to be said of an int8 file, such as what it cost.
    """

    failures: tuple[str, ...]
    compared_with: str
    precision: Precision
    provider: str = "nothing"
    max_abs: float = NAN
    max_one_minus_cosine: float = NAN
    mean_one_minus_cosine: float = NAN
    max_norm_error: float = NAN
    neighbors_kept: float = NAN
    knn: tuple[float, float] = (NAN, NAN)
    scale: float = 1.0
    finite: bool = False
    batches: tuple[int, ...] = ()
    images: int = 0
    worst: tuple[int, ...] = ()
    worst_one_minus_cosine: tuple[float, ...] = ()
    speed: float = NAN
    sha256: str
    file_bytes: int
    parameter_bytes: int
    seconds: float = 0.0
    float_layers: tuple[str, ...] = ()
    float_share: float = 0.0
    layers: int = 0
    tried: tuple[Attempt, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def size_ratio(self) -> float:
        """Size of the file over size of the parameters. Infinite without parameters."""
        if self.parameter_bytes == 0:
            return math.inf
        return self.file_bytes / self.parameter_bytes

    @property
    def pace(self) -> str:
        """The speed, in words."""
        if math.isnan(self.speed):
            return "not measured"
        return f"{self.speed:.2f} times the reference's"

    @property
    def gate(self) -> Gate:
        """The bounds that hold for this report.

        If the encoder does not normalise, norms are free, and near the origin the
        direction of an embedding says nothing. The largest difference, relative to the
        largest component, then replaces cosines and norms.
        """
        gate = GATES[self.precision]
        if not math.isnan(self.max_norm_error):
            return gate
        return Gate(
            max_abs=gate.max_relative * self.scale,
            max_norm_error=math.inf,
            neighbors_kept=gate.neighbors_kept,
            knn_drop=gate.knn_drop,
        )

    @property
    def figures(self) -> tuple[Figure, ...]:
        """What was measured, line by line, beside the bounds of the gate."""
        gate, lost = self.gate, self.knn[0] - self.knn[1]
        found = [
            _at_most("max |difference|", self.max_abs, gate.max_abs),
            _at_most(
                "max 1 - cosine", self.max_one_minus_cosine, gate.max_one_minus_cosine
            ),
            _at_most(
                "mean 1 - cosine",
                self.mean_one_minus_cosine,
                gate.mean_one_minus_cosine,
            ),
            _at_most("max |norm - 1|", self.max_norm_error, gate.max_norm_error),
            Figure(
                "10 neighbours kept",
                f"{self.neighbors_kept:.3f}",
                f">= {gate.neighbors_kept}" if gate.neighbors_kept > 0 else "",
                not self.neighbors_kept < gate.neighbors_kept,
                _strain(1 - self.neighbors_kept, 1 - max(gate.neighbors_kept, 0)),
            ),
            Figure(
                "10-NN accuracy lost",
                f"{lost:.4f}, {self.knn[0]:.4f} to {self.knn[1]:.4f}",
                f"<= {gate.knn_drop}" if gate.knn_drop < math.inf else "",
                not lost > gate.knn_drop,
                _strain(lost, gate.knn_drop),
            ),
        ]
        if self.images:
            finite = "yes" if self.finite else "no"
            found.append(Figure("finite embeddings", finite, held=self.finite))
        return tuple(figure for figure in found if "nan" not in figure.value)

    @property
    def strain(self) -> float:
        """The largest figure over its bound. Infinite if the file did not run."""
        if not self.images or not self.finite:
            return math.inf
        return max(figure.strain for figure in self.figures)

    def judged(self) -> "Report":
        """Return this report with a failure for each figure beyond its bound."""
        failures = [
            f"Expected {figure.name} to be {figure.bound} but got {figure.value}"
            if figure.bound
            else "Expected finite embeddings but got NaN or infinity"
            for figure in self.figures
            if not figure.held
        ]
        return dataclasses.replace(self, failures=tuple(failures))

    def to_json(self) -> str:
        """Return the report for programs, as JSON. NaN and infinity become null."""
        values = dataclasses.asdict(self) | {"passed": self.passed}
        return json.dumps(_without_nan(values), indent=2) + "\n"

    def __str__(self) -> str:
        failures = [f"  failed: {failure}" for failure in self.failures]
        if not self.images:
            return "\n".join(["parity FAILED: no image was compared", *failures])
        lines = [
            f"parity {'passed' if self.passed else 'FAILED'} on {self.images} images, "
            f"batches {', '.join(map(str, self.batches))}",
            *failures,
            f"{self.precision} on {self.provider}, against {self.compared_with}",
            *(
                f"  {figure.name:<20} {figure.value:<10} {figure.bound}".rstrip()
                for figure in self.figures
            ),
            f"  {'file':<20} {self.file_bytes:,} bytes"
            + (
                f", {self.size_ratio:.3f} of the parameters"
                if self.parameter_bytes
                else ""
            ),
            f"  {'speed':<20} {self.pace}",
            *self._integers,
            f"  {'time':<20} {self.seconds:.1f} s",
        ]
        return "\n".join(lines)

    @property
    def _integers(self) -> list[str]:
        """Lines about an int8 graph: what stayed in float32, and what was tried."""
        lines = []
        if self.float_layers:
            lines.append(
                f"  {'in float32':<20} {len(self.float_layers)} of {self.layers} "
                f"layers, {self.float_share:.1%} of the multiply-adds"
            )
            lines += [f"    {name}" for name in self.float_layers]
        lines += [f"  {note}" for note in self.notes]
        if self.tried:
            lines.append("  tried, with the largest and the mean 1 - cosine:")
            lines += [f"    {row}" for row in table(self.tried)]
        return lines


def _at_most(name: str, value: float, bound: float) -> Figure:
    return Figure(
        name,
        f"{value:.1e}",
        f"<= {bound:.0e}" if bound < math.inf else "",
        value <= bound or bound == math.inf,  # NaN is within no bound
        _strain(value, bound),
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class ParityError(RuntimeError):
    """An exported file did not compute what its encoder computes.

    An export that raises this error leaves no file.

    Attributes:
        report: The report of the verification.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def _strain(value: float, bound: float) -> float:
    """How much of a bound a value uses up; of the bound 0, all or nothing."""
    if bound == 0:
        return math.inf if value > 0 else 0.0
    return value / bound
