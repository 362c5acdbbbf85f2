"""What Ray costs on one machine: `rkdo embed` with both engines, in turn.

    python benchmarks/embedding_on_ray.py MODEL FOLDER [--images 1000]

FOLDER holds images, which are taken again and again until there are `--images`. Each
engine embeds them as often as `--repetitions` says. A job on Ray starts its actors
anew, which is part of its time; the cluster is started before.
"""

import argparse
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from rkdo_plugin.export import EmbeddingSession, RaySession, embed_images
from rkdo_plugin.export.encoder.pictures import is_picture
from rkdo_plugin.export.reading.decoding import cores


def links(source: Path, folder: Path, count: int) -> None:
    """Fill a folder with links to a folder's images, again and again."""
    paths = sorted(path.resolve() for path in source.rglob("*") if is_picture(path))
    for number in range(count):
        Path(folder, f"{number:06}").symlink_to(paths[number % len(paths)])


def seconds(session: EmbeddingSession | RaySession, folder: Path) -> float:
    """Run the job."""
    with TemporaryDirectory() as output:
        started = time.perf_counter()
        embed_images(session, folder, Path(output, "parts"))
        return time.perf_counter() - started


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    with (
        TemporaryDirectory() as name,
        TemporaryDirectory() as few,
        RaySession(options.model, "cpu") as on_ray,
    ):
        folder = Path(name)
        links(options.folder, folder, options.images)
        links(options.folder, Path(few), 1)
        local = EmbeddingSession(options.model, "cpu", threads=1)
        times: dict[str, list[float]] = {"local": [], "ray": [], "ray, 1 image": []}
        for _ in range(options.repetitions):
            times["local"].append(seconds(local, folder))
            times["ray"].append(seconds(on_ray, folder))
            times["ray, 1 image"].append(seconds(on_ray, Path(few)))
    print(
        f"{options.images} images, {cores()} cores, {options.repetitions} repetitions"
    )
    print("| engine | seconds, median | least | most |\n|---|---|---|---|")
    for engine, taken in times.items():
        median = statistics.median(taken)
        print(f"| {engine} | {median:.1f} | {min(taken):.1f} | {max(taken):.1f} |")
    medians = {engine: statistics.median(taken) for engine, taken in times.items()}
    print(f"ray / local: {medians['ray'] / medians['local']:.2f}")
    start = medians["ray, 1 image"]
    print(
        f"without the actors' start: {(medians['ray'] - start) / medians['local']:.2f}"
    )


if __name__ == "__main__":
    main()
