"""What a verification found."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """Every figure of a comparison between an exported file and its encoder.

    Attributes:
        failures: What was expected and what came, for each check that failed.
        max_abs: Largest absolute difference of a component of an embedding.
        max_one_minus_cosine: Largest 1 - cosine of the two embeddings of an image.
        max_norm_error: Largest distance of a norm from 1, on either side; not a number
            where the encoder does not normalise.
        scale: What `max_abs` is relative to: 1, or the largest component where the
            encoder does not normalise and that is more.
        finite: Whether every component is finite, on both sides.
        batches: Batch sizes that were run.
        images: Number of images compared.
        file_bytes: Size of the file.
        parameter_bytes: Size of the encoder's parameters in float32.
        seconds: Wall-clock time of what returned this report, on this machine.
    """

    failures: tuple[str, ...]
    max_abs: float
    max_one_minus_cosine: float
    max_norm_error: float
    scale: float
    finite: bool
    batches: tuple[int, ...]
    images: int
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
            return float("inf")
        return self.file_bytes / self.parameter_bytes

    def __str__(self) -> str:
        lines = [
            f"parity {'passed' if self.passed else 'FAILED'} on {self.images} images, "
            f"batches {', '.join(map(str, self.batches))}",
            f"  max |difference|   {self.max_abs:.1e}",
            f"  max 1 - cosine     {self.max_one_minus_cosine:.1e}",
            *(
                []
                if math.isnan(self.max_norm_error)
                else [f"  max |norm - 1|     {self.max_norm_error:.1e}"]
            ),
            f"  all finite         {'yes' if self.finite else 'no'}",
            f"  file               {self.file_bytes:,} bytes, "
            f"{self.size_ratio:.3f} of the parameters",
            f"  time               {self.seconds:.1f} s",
        ]
        return "\n".join(
            [*lines, *(f"  failed: {failure}" for failure in self.failures)]
        )


class ParityError(RuntimeError):
    """An export did not compute what its encoder computes; no file was left.

    Attributes:
        report: What the verification found.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report
