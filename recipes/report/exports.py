"""Read an exported file's metadata, and the verification that lies beside it."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        stored: dict[str, Any] = json.loads(path.read_text("utf-8"))
        values = {each.name: stored[each.name] for each in dataclasses.fields(Report)}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"Expected {path} to be a report of rkdo verify but it is damaged or of "
            f"another version ({type(error).__name__})"
        ) from error
    return Report(**{name: _value(value) for name, value in values.items()})


def _value(stored: Any) -> Any:
    if isinstance(stored, list):
        return tuple(map(_value, stored))
    return math.nan if stored is None else stored
