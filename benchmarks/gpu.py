"""Everything that this package does on a GPU, in four minutes and one table.

    python benchmarks/gpu.py OUT.json
    python benchmarks/gpu.py OUT.json --device cpu --tiny

Losses beside Lightly's NT-Xent, updates of a field, training steps of a ResNet-50, and
forward passes of encoders in PyTorch and onnxruntime; docs/gpu.md says what each figure
means. All images and embeddings are generated, nothing is downloaded. What is not
installed is left out, with its reason in the table. OUT.json holds what was measured so
far after each section. The second command is a dry run: it measures nothing worth
knowing, and shows in a minute that everything runs.

The exit status is 1 if a section failed, and 2 if there is no such device.
"""

import argparse
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from gpu_rows import FULL, TINY, Budget, Clock, Row, Sizes

from rkdo_plugin.export.runtime.cuda_fault import cuda_fault
from rkdo_plugin.publish import write_whole

# Seconds of each section, whose function has its name, in the module gpu_NAME. What
# the others leave is for the last one, which could always use more.
SECTIONS = {"losses": 30, "field": 35, "training": 80, "export": 180}
SECONDS = 230  # of all
PACKAGES = ("lightly", "pytorch-lightning", "timm", "onnxruntime-gpu", "onnxruntime")
COLUMNS = {
    "Section": "---",
    "What": "---",
    "Size": "---",
    "ms": "---:",
    "MiB": "---:",
    "Images/s": "---:",
    "GPU waits": "---:",
    "H100 at best, ms": "---:",
    "Note": "---",
}


def measure(
    out: Path, device: torch.device, sizes: Sizes
) -> tuple[list[Row], dict[str, str]]:
    """Run every section, and write down what there is after each.

    Returns:
        The rows, and why sections failed, by their names.
    """
    clock = Clock(device, sizes.repetitions)
    rows: list[Row] = []
    failed: dict[str, str] = {}
    whole = Budget(SECONDS)
    for name, most in SECTIONS.items():
        started = time.perf_counter()
        seconds = min(most, whole.left)
        print(f"{name}: at most about {seconds:.0f} s", file=sys.stderr, flush=True)
        try:
            section = getattr(import_module(f"gpu_{name}"), name)
            for row in section(clock, sizes, Budget(seconds)):
                rows.append(row)
        except ImportError as error:
            rows.append(Row(name, "everything", "", note=f"not installed: {error}"))
        except Exception as error:  # the other sections go on
            traceback.print_exc()
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            rows.append(Row(name, "the rest", "", note=f"failed: {failed[name]}"))
        print(f"  {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        write(out, device, rows, failed)
    return rows, failed


def write(
    out: Path, device: torch.device, rows: Iterable[Row], failed: dict[str, str]
) -> None:
    """Replace the file of results, whole."""
    found = {
        "machine": machine(device),
        "rows": [asdict(row) for row in rows],
        "failed": failed,
    }
    content = json.dumps(found, indent=1) + "\n"
    write_whole(out, content.encode(), overwrite=True)


def machine(device: torch.device) -> dict[str, Any]:
    """The card, and the versions of what runs on it."""
    found: dict[str, Any] = {
        "device": name_of(device),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def name_of(device: torch.device) -> str:
    """The card's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "CPU, a dry run"


def table(rows: Iterable[Row], predicted: dict[tuple[str, str, str], float]) -> str:
    """The rows as Markdown.

    Args:
        rows: What was measured.
        predicted: Milliseconds by a row's key.
    """
    lines = ["", *(f"| {' | '.join(c)} |" for c in (COLUMNS, COLUMNS.values()))]
    for row in rows:
        best = predicted.get(row.key)
        cells = [
            row.section,
            row.what,
            row.size,
            "" if row.milliseconds is None else f"{row.milliseconds:.3g}",
            "" if row.mebibytes is None else f"{row.mebibytes:,.0f}",
            "" if row.rate is None else f"{row.rate:,.0f}",
            "" if row.waits is None else f"{row.waits:.0%}",
            "" if best is None else f"{best:.2g}",
            row.note,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def predictions() -> dict[tuple[str, str, str], float]:
    """Milliseconds that gpu_prediction.py wrote down."""
    results = Path(__file__).parent / "results" / "gpu-prediction.json"
    return {
        tuple(each["key"]): 1000 * each["work"][-1]
        for each in json.loads(results.read_text())
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT.json")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a dry run")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and (fault := cuda_fault()) is not None:
        parser.error(
            f"Expected a GPU with --device cuda but got: {fault}; --device cpu --tiny "
            "is a dry run without one"
        )
    device = torch.device(options.device, *[0] * (options.device == "cuda"))
    rows, failed = measure(options.out, device, TINY if options.tiny else FULL)
    print(f"{name_of(device)}, PyTorch {torch.__version__}")
    print(table(rows, predictions()))
    for name, reason in failed.items():
        print(f"{name} failed: {reason}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
