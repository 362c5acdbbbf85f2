"""What a verification found."""

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from rkdo_plugin.export.verification.gates import GATES, Gate, Precision


@dataclass(frozen=True)
class Figure:
    """One line of a report.

    Attributes:
        name: What was measured.
        value: As printed.
        bound: The gate's bound, as printed; empty where it binds nothing.
        held: Whether the bound held.
    """

    name: str
    value: str
    bound: str = ""
    held: bool = True


@dataclass(frozen=True)
class Report:
    """Every figure of a comparison between an exported file and a reference.

    Figures that could not be measured are not a number, and their bounds bind nothing
    but where everything has to be finite.

    Attributes:
        failures: What was expected and what came, for each check that failed.
        compared_with: The reference, in words.
        precision: Arithmetic inside the graph; it chooses the gate.
        provider: What ran the file.
        max_abs: Largest absolute difference of a component of an embedding.
        max_one_minus_cosine: Largest 1 - cosine of the two embeddings of an image.
        mean_one_minus_cosine: Mean 1 - cosine.
        max_norm_error: Largest distance of a norm from 1, on either side; not a number
            where the encoder does not normalise.
        neighbors_kept: Share of the images' ten nearest neighbours among each other
            that are the same.
        knn: Accuracy of the vote of an image's ten nearest neighbours, of the reference
            and of the file, where there are labels.
        scale: What `max_abs` is relative to: 1, or the largest component where the
            encoder does not normalise and that is more.
        finite: Whether every component is finite, on both sides.
        batches: Batch sizes that were run.
        images: Number of images compared; fewer than 43 run repeatedly.
        worst: Numbers of the images whose 1 - cosine is largest, the worst first.
        worst_one_minus_cosine: Their 1 - cosine.
        speed: The reference's time over the file's, the median of the batches above
            one, in one run on this machine with as many threads each.
        sha256: Checksum that the file records of itself.
        file_bytes: Size of the file, weights beside it included.
        parameter_bytes: Size of the encoder's parameters in float32; 0 if unknown.
        seconds: Wall-clock time of what returned this report, on this machine.
    """

    failures: tuple[str, ...]
    compared_with: str
    precision: Precision
    provider: str
    max_abs: float
    max_one_minus_cosine: float
    mean_one_minus_cosine: float
    max_norm_error: float
    neighbors_kept: float
    knn: tuple[float, float]
    scale: float
    finite: bool
    batches: tuple[int, ...]
    images: int
    worst: tuple[int, ...]
    worst_one_minus_cosine: tuple[float, ...]
    speed: float
    sha256: str
    file_bytes: int
    parameter_bytes: int
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every check held."""
        return not self.failures

    @property
    def size_ratio(self) -> float:
        """File size over parameter size; infinite for an encoder without parameters."""
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
    def figures(self) -> tuple[Figure, ...]:
        """What was measured, line by line, beside the bounds of the precision's gate.

        Where norms are free a direction says nothing near the origin: the largest
        difference, relative to the largest component, stands for cosines.
        """
        gate = GATES[self.precision]
        if math.isnan(self.max_norm_error):
            bound = gate.max_relative * self.scale
            gate = dataclasses.replace(
                Gate(max_norm_error=math.inf),
                max_abs=bound,
                neighbors_kept=gate.neighbors_kept,
                knn_drop=gate.knn_drop,
            )
        drop = self.knn[0] - self.knn[1]
        found = [
            _most("max |difference|", self.max_abs, gate.max_abs),
            _most("max 1 - cosine", self.max_one_minus_cosine,
                  gate.max_one_minus_cosine),
            _most("mean 1 - cosine", self.mean_one_minus_cosine,
                  gate.mean_one_minus_cosine),
            _most("max |norm - 1|", self.max_norm_error, gate.max_norm_error),
            Figure(
                "10 neighbours kept",
                f"{self.neighbors_kept:.3f}",
                f">= {gate.neighbors_kept}" if gate.neighbors_kept > 0 else "",
                not self.neighbors_kept < gate.neighbors_kept,
            ),
            Figure(
                "kNN accuracy lost",
                f"{drop:.4f}, {self.knn[0]:.4f} to {self.knn[1]:.4f}",
                f"<= {gate.knn_drop}" if gate.knn_drop < math.inf else "",
                not drop > gate.knn_drop,
            ),
            Figure(
                "finite embeddings", "yes" if self.finite else "no", held=self.finite
            ),
        ]  # fmt: skip
        return tuple(figure for figure in found if "nan" not in figure.value)

    def to_json(self) -> str:
        """The report for programs; what is not a number is null."""
        values = dataclasses.asdict(self) | {"passed": self.passed}
        return json.dumps(_without_nan(values), indent=2) + "\n"

    def __str__(self) -> str:
        lines = [
            f"parity {'passed' if self.passed else 'FAILED'} on {self.images} images, "
            f"batches {', '.join(map(str, self.batches)) or 'none'}",
            f"{self.precision} on {self.provider}, against {self.compared_with}",
            *(
                f"  {figure.name:<18} {figure.value:<10} {figure.bound}".rstrip()
                for figure in self.figures
            ),
            f"  {'file':<18} {self.file_bytes:,} bytes"
            + (
                f", {self.size_ratio:.3f} of the parameters"
                if self.parameter_bytes
                else ""
            ),
            f"  {'speed':<18} {self.pace}",
            f"  {'time':<18} {self.seconds:.1f} s",
        ]
        return "\n".join(
            [*lines, *(f"  failed: {failure}" for failure in self.failures)]
        )


def _most(name: str, value: float, bound: float) -> Figure:
    return Figure(
        name,
        f"{value:.1e}",
        f"<= {bound:.0e}" if bound < math.inf else "",
        value <= bound or bound == math.inf,  # NaN is not within any bound
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class ParityError(RuntimeError):
    """An export did not compute what its encoder computes; no file was left.

    Attributes:
        report: What the verification found.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report
