"""Peak memory of `rkdo embed`, all its processes together, over the number of images.

    python benchmarks/embedding_memory.py MODEL.onnx FOLDER [COUNT ...]

Embeds the first COUNT images below FOLDER, linked again and again if there are fewer.
Memory is the proportional set size on Linux: pages that processes share count once.
Pages of programs and libraries count less while other programs use them, too. So the
table also has what these processes have of their own, which no other program changes.
"""

import os
import sys
import threading
import time
from collections import Counter
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


def proportional(process: int) -> Counter[str]:
    """KiB of a process by kind, shared pages in part; none once it is gone."""
    found: Counter[str] = Counter()
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss"):
                name, size, _ = line.split()
                found[name] = int(size)
    return found


def peak(words: list[str]) -> tuple[int, int]:
    """The most KiB that a command's processes have together, and of their own."""
    most, own, ended = 0, 0, threading.Event()
    with Popen(words, stderr=DEVNULL, stdout=DEVNULL) as process:
        while process.poll() is None:
            each = map(proportional, children(process.pid))
            found = sum(each, Counter[str]())
            most = max(most, found["Pss:"])
            own = max(own, found["Pss_Anon:"] + found["Pss_Shmem:"])
            ended.wait(EVERY)
    if process.returncode:
        raise RuntimeError(f"Expected {words} to succeed but got {process.returncode}")
    return most, own


def main(model: str, folder: str, *counts: str) -> None:
    """Print a line for each count."""
    images = sorted(str(path) for path in Path(folder).rglob("*.jpg"))
    print("| images | MiB at most | of its own | seconds |\n|---|---|---|---|")
    for count in map(int, counts or ("1000", "60000")):
        with TemporaryDirectory(dir=folder) as scratch:  # for links
            source = Path(scratch, "images")
            source.mkdir()
            for number in range(count):
                os.link(images[number % len(images)], source / f"{number:06}.jpg")
            rkdo = [sys.executable, "-m", "rkdo_plugin.cli", "embed"]
            started = time.monotonic()
            sizes = peak([*rkdo, model, str(source), str(Path(scratch, "parts"))])
            seconds = time.monotonic() - started
        most, own = (f"{size / 1024:.0f}" for size in sizes)
        print(f"| {count:,} | {most} | {own} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
