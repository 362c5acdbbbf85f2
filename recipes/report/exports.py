"""Read an exported file's metadata, and the verification that lies beside it."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rkdo_plugin.export.file.metadata import PRECISION, SHA256
from rkdo_plugin.export.file.model_file import read_model
from rkdo_plugin.export.verification.report import Report


@dataclass(frozen=True)
class FoundExport:
    """An exported file, as far as it and its report tell.

    Attributes:
        path: The ONNX file.
        metadata: What it says about itself.
        report: Its verification; None where none is stored.
        remark: Why there is none; empty where there is one.
    """

    path: Path
    metadata: dict[str, str]
    report: Report | None
    remark: str

    @property
    def precision(self) -> str:
        """Arithmetic inside its graph."""
        return self.metadata[PRECISION]


def read_found_export(path: Path) -> FoundExport:
    """Read an ONNX file and NAME.report.json beside it, which `rkdo verify` stores.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file or its report is damaged, or `export_onnx` did not write
            the file.
    """
    metadata = read_model(path).metadata
    stored = path.with_name(f"{path.stem}.report.json")
    if not stored.is_file():
        return FoundExport(
            path, metadata, None, f"no {stored.name} beside it: run rkdo verify"
        )
    report = _read_report(stored)
    if report.sha256 != metadata[SHA256]:
        return FoundExport(
            path, metadata, None, f"{stored.name} is about another file: verify again"
        )
    return FoundExport(path, metadata, report, "")


def _read_report(path: Path) -> Report:
    """What `Report.to_json` wrote; null stands for NaN.

    Raises:
        ValueError: It did not write the file.
    """
    try:
        report: Report = _value(json.loads(path.read_text("utf-8")), Report)
        return report
    except (ArithmeticError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected {path} to be a report of rkdo verify but it is damaged or of "
            f"another version ({type(error).__name__})"
        ) from error


def _value(stored: Any, kind: Any) -> Any:
    """A value of a type that reports have, from the value that JSON has for it."""
    if dataclasses.is_dataclass(kind):
        kinds = get_type_hints(kind)
        names = [each.name for each in dataclasses.fields(kind)]
        make: Any = kind
        return make(**{name: _value(stored[name], kinds[name]) for name in names})
    if get_origin(kind) is tuple and isinstance(stored, list):
        first, *others = get_args(kind)
        inner = [first] * len(stored) if others == [...] else [first, *others]
        return tuple(_value(*pair) for pair in zip(stored, inner, strict=True))
    if kind is float and (stored is None or type(stored) in (int, float)):
        return math.nan if stored is None else float(stored)
    if type(stored) is kind or (
        get_origin(kind) is Literal and stored in get_args(kind)
    ):
        return stored
    raise TypeError(f"Expected {kind} but got {stored!r}")
