"""Peak memory of `rkdo embed`, all its processes together, over the number of images.

    python benchmarks/embedding_memory.py MODEL.onnx FOLDER [COUNT ...]

Embeds the first COUNT images below FOLDER, linked again and again if there are fewer.
Memory is the proportional set size on Linux: pages that processes share count once.
"""

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, Popen
from tempfile import TemporaryDirectory

EVERY = 0.05  # seconds between two looks


def children(process: int) -> list[int]:
    """A process and all below it."""
    found = [process]
    with suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += children(int(child))
    return found


def proportional(process: int) -> int:
    """Bytes of a process, shared pages in part; 0 once it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def peak(words: list[str]) -> int:
    """The most bytes that a command's processes have together."""
    most, ended = 0, threading.Event()
    with Popen(words, stderr=DEVNULL, stdout=DEVNULL) as process:
        while process.poll() is None:
            most = max(most, sum(map(proportional, children(process.pid))))
            ended.wait(EVERY)
    if process.returncode:
        raise RuntimeError(f"Expected {words} to succeed but got {process.returncode}")
    return most


def main(model: str, folder: str, *counts: str) -> None:
    """Print a line for each count."""
    images = sorted(str(path) for path in Path(folder).rglob("*.jpg"))
    print("| images | MiB at most | seconds |\n|---|---|---|")
    for count in map(int, counts or ("1000", "60000")):
        with TemporaryDirectory(dir=folder) as scratch:  # for links
            source = Path(scratch, "images")
            source.mkdir()
            for number in range(count):
                os.link(images[number % len(images)], source / f"{number:06}.jpg")
            rkdo = [sys.executable, "-m", "rkdo_plugin.cli", "embed"]
            started = time.monotonic()
            most = peak([*rkdo, model, str(source), str(Path(scratch, "parts"))])
            seconds = time.monotonic() - started
        print(f"| {count:,} | {most / 2**20:.0f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
