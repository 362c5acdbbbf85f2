"""Kill `rkdo embed` at random moments, fill its disk once, and compare the rows.

    python benchmarks/embedding_kills.py MODEL.onnx FOLDER [--kills 10] [--disk FOLDER]

Runs the command once without interruption. Then it starts the same command again and
again, kills all its processes with SIGKILL up to a second after a random part appears,
and lets the last one finish. With `--disk`, the folder of a small file
system, a job there first meets a full disk. Prints how many rows differ, in keys or in
any bit of the vectors.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FILLER = "filler"


def command(model: Path, source: Path, output: Path) -> list[str]:
    """`rkdo embed` in parts of 100 images."""
    rkdo = [sys.executable, "-m", "rkdo_plugin.cli", "embed"]
    return [*rkdo, str(model), str(source), str(output), "--part-images", "100"]


def rows(output: Path) -> tuple[list[str], np.ndarray]:
    """Keys and vectors of all parts."""
    parts = sorted(output.glob("part-*.parquet"))
    table = pa.concat_tables([pq.read_table(part) for part in parts])
    return table["path"].to_pylist(), np.stack(table["vector"].to_numpy())


def differing(output: Path, expected: Path) -> str:
    """In words, how far two jobs' rows are alike."""
    (keys, vectors), (others, whole) = rows(output), rows(expected)
    if keys != others:
        return f"{len(keys)} rows of other keys than the {len(others)} expected"
    apart = int((vectors != whole).any(axis=1).sum())
    return f"{len(keys)} rows, of which {apart} differ"


def killed(words: list[str], output: Path, parts: int, seconds: float) -> bool:
    """Run a command, and kill all its processes so long after it has so many parts."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        words, stderr=quiet, stdout=quiet, start_new_session=True
    )
    while process.poll() is None and count(output) < parts:
        time.sleep(0.01)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def count(output: Path) -> int:
    """The number of parts."""
    return len(list(output.glob("part-*")))


def fill(folder: Path, left: int) -> None:
    """Leave so many bytes of a file system."""
    free = os.statvfs(folder)
    size = free.f_bavail * free.f_frsize - left
    with (folder / FILLER).open("wb") as file:
        for _ in range(size // 2**20):
            file.write(bytes(2**20))


def main() -> None:
    """Run all, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--disk", type=Path)
    options = parser.parse_args()
    moments = random.Random(0)
    with TemporaryDirectory() as folder:
        whole, output = Path(folder, "whole"), Path(folder, "killed")
        words = command(options.model, options.folder, whole)
        subprocess.run(words, check=True, capture_output=True)
        words = command(options.model, options.folder, output)
        kills, step = 0, count(whole) // options.kills
        for number in range(options.kills):
            parts = number * step + moments.randint(0, step - 1)
            kills += killed(words, output, parts, moments.random())
            print(f"{count(output)} parts after {kills} kills", flush=True)
        subprocess.run(words, check=True, capture_output=True)
        print(f"killed {kills} times: {differing(output, whole)}")
        if options.disk is None:
            return
        fill(options.disk, 2**20)
        words = command(options.model, options.folder, options.disk / "parts")
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        print(f"full disk: status {ended.returncode}: {ended.stderr.splitlines()[-1]}")
        (options.disk / FILLER).unlink()
        subprocess.run(words, check=True, capture_output=True)
        print(f"after it: {differing(options.disk / 'parts', whole)}")


if __name__ == "__main__":
    main()
