"""Time and memory of a search among many vectors, by faiss and by scikit-learn.

    OMP_NUM_THREADS=1 python benchmarks/vectors.py [ROWS [DIM]]

Random float16 vectors, 200,000 of 512 numbers by default. Prints a row of Markdown
for each number of queries: seconds of a CPU, medians of 3 searches in turn, and the
peak of memory beyond the vectors of a fresh process. Linux.
"""

import statistics
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rkdo_plugin.export.vectors import search

COUNT = 8
QUERIES = (1, 100, 1000)
LIBRARIES = ("faiss", "scikit-learn")
HEADER = """\
| queries | faiss, CPU s | scikit-learn, CPU s | ratio | faiss, MiB | sklearn, MiB |
|---|---|---|---|---|---|"""


def random_rows(rows: int, dim: int) -> NDArray[np.float16]:
    """The same vectors on every call."""
    generator = np.random.default_rng(0)
    found = np.empty((rows, dim), np.float16)
    for start in range(0, rows, 10_000):
        part = found[start : start + 10_000]
        part[:] = generator.standard_normal(part.shape, np.float32)
    return found


def seconds(library: str, queries: NDArray[np.float16], rows: NDArray[np.float16]):
    """Time one search."""
    search.find_spec = lambda name: library == "faiss"  # what `nearest` asks
    started = time.process_time()  # others may share the cores
    search.nearest(queries, rows, COUNT)
    return time.process_time() - started


def peak() -> float:
    """Peak resident memory of this process in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def growth(library: str, queries: int, rows: int, dim: int) -> float:
    """In MiB, beyond the vectors and what loading takes."""
    vectors = random_rows(rows, dim)
    seconds(library, vectors[:1], vectors[:1000])
    before = peak()
    seconds(library, vectors[:queries], vectors)
    return peak() - before


def main(rows: int = 200_000, dim: int = 512) -> None:
    """Print the table."""
    vectors = random_rows(rows, dim)
    print(f"{rows:,} vectors of {dim} float16 numbers\n\n{HEADER}", flush=True)
    for queries in QUERIES:
        times: dict[str, list[float]] = {name: [] for name in LIBRARIES}
        for _ in range(3):
            for name, taken in times.items():
                taken.append(seconds(name, vectors[:queries], vectors))
        fast, slow = (statistics.median(taken) for taken in times.values())
        with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            cases = [(name, queries, rows, dim) for name in LIBRARIES]
            memory = pool.starmap(growth, cases, chunksize=1)
        print(
            f"| {queries:,} | {fast:.2f} | {slow:.2f} | {slow / fast:.1f} "
            f"| {memory[0]:.0f} | {memory[1]:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
