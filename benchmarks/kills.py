"""Kill a training, an export or an embedding before each thing it does to its files.

    python benchmarks/kills.py train|export|embed [--fault kill|full] [--every 1]

Runs it once without interruption. Then it kills a new process (or tells it that the
disk is full) before the first thing that this does to a file of its folder, then
another one before the second thing, and so on. After each, it looks whether what is
there is whole, lets the same command go on to its end, and compares the files. It fails
at any difference, and at any file that is left over. Linux only.

`embedding_kills.py` kills all processes of a large embedding at random moments.
"""

import argparse
import csv
import errno
import os
import shutil
import signal
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from soak import tiny

from rkdo_plugin.export import EmbeddingSession, embed_images, export_onnx
from rkdo_plugin.export.file.model_file import read_model, write_model
from rkdo_plugin.publish import require_writable
from rkdo_plugin.recipes.training.settings import Execution, RunSettings
from rkdo_plugin.recipes.training.train import train

# Python's audit events of what changes a folder; others, such as a write, follow them.
EVENTS = ("open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.truncate")
FAULTS: dict[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "full": lambda: _full(),
}


class Job(ABC):
    """What is interrupted; it goes on where its folder says it stopped."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @abstractmethod
    def run(self, folder: Path) -> None:
        """Begin, or go on."""

    @abstractmethod
    def check(self, folder: Path) -> None:
        """Raise an error unless what an interrupted process left can be read."""

    @abstractmethod
    def content(self, folder: Path) -> dict[str, object]:
        """All that matters in a finished folder, by name."""


class Training(Job):
    """12 steps with a response field, saved after every epoch of 4 and every 3."""

    def run(self, folder: Path) -> None:
        """Begin, or go on."""
        settings = RunSettings(
            loss="icon",
            field="hog",
            field_options={"field_weight": 0.5},
            encoder="small-convnet",
            limit=128,
            batch_size=32,
            epochs=3,
        )
        execution = Execution(workers=0, checkpoint_every=3, progress=False)
        train(settings, folder, execution, resume=(folder / "config.yaml").exists())

    def check(self, folder: Path) -> None:
        """Read what is there."""
        if (folder / "last.ckpt").exists():
            torch.load(folder / "last.ckpt", weights_only=True)

    def content(self, folder: Path) -> dict[str, object]:
        """Of each file."""
        with (folder / "metrics.csv").open(newline="") as file:
            lines = list(csv.reader(file))
        config = (folder / "config.yaml").read_text()
        found = {"metrics.csv": lines, "config.yaml": config}
        checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
        for part in ("state_dict", "optimizer_states", "callbacks", "loader"):
            found[part] = _plain(checkpoint[part])
        return found


class Export(Job):
    """A model that replaces another one; what is before its files is left out."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        for name in ("older", "newer"):
            (place / name).mkdir()
            export_onnx(tiny(), place / name / "model.onnx")
        self.newer = read_model(place / "newer" / "model.onnx")

    def run(self, folder: Path) -> None:
        """Begin, or go on."""
        if not folder.exists():
            shutil.copytree(self.place / "older", folder)
        require_writable(folder / "model.onnx", overwrite=True)
        write_model(folder, self.newer, "a remark", overwrite=True)

    def check(self, folder: Path) -> None:
        """Read what is there."""
        if len(list(folder.glob("model*"))) == 2:
            read_model(folder / "model.onnx")

    def content(self, folder: Path) -> dict[str, object]:
        """Of each file."""
        return {path.name: path.read_bytes() for path in folder.iterdir()}


class Embedding(Job):
    """Parts of 8 images, of which one cannot be read."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        export_onnx(tiny(), place / "tiny.onnx")
        (place / "images").mkdir()
        dice = np.random.default_rng(0)
        for number, pixels in enumerate(dice.integers(0, 256, (20, 8, 8, 3), np.uint8)):
            Image.fromarray(pixels).save(place / "images" / f"{number:02}.png")
        (place / "images" / "05.png").write_text("no picture")

    def run(self, folder: Path) -> None:
        """Begin, or go on."""
        session = EmbeddingSession(self.place / "tiny.onnx", "cpu", threads=1)
        embed_images(session, self.place / "images", folder, part_images=8, workers=0)

    def check(self, folder: Path) -> None:
        """Read what is there."""
        for part in folder.glob("part-*"):
            pq.read_table(part, page_checksum_verification=True)

    def content(self, folder: Path) -> dict[str, object]:
        """Of each file."""
        return {path.name: pq.read_table(path) for path in folder.iterdir()}


JOBS: dict[str, type[Job]] = {"train": Training, "export": Export, "embed": Embedding}


def _plain(value: object) -> object:
    """The same in values that can be compared."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def _full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def forked(
    job: Job, folder: Path, at: int, fault: Callable[[], None]
) -> tuple[int, int]:
    """Run a job in a forked process, in which something fails.

    Args:
        job: The job.
        folder: Its folder.
        at: Number of the event that fails, from 1 on; 0 for none.
        fault: What fails.

    Returns:
        The status of the process, and the number of events.
    """
    sys.stdout.flush()
    seen, told = os.pipe()
    process = os.fork()
    if process == 0:
        status = 1
        try:
            torch.set_num_threads(1)
            os.environ["TQDM_DISABLE"] = "1"
            events = 0

            def hook(event: str, arguments: tuple[object, ...]) -> None:
                nonlocal events
                names = [
                    str(name) for name in arguments if isinstance(name, str | Path)
                ]
                ours = any(name.startswith(str(folder)) for name in names)
                reading = event == "open" and arguments[1] in ("r", "rb")
                if event not in EVENTS or not ours or reading:
                    return
                if any("tensorboard" in name for name in names):
                    return
                events += 1
                if events == at:
                    fault()

            sys.addaudithook(hook)
            job.run(folder)
            os.write(told, str(events).encode())
            status = 0
        except OSError:
            status = 2
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(told)
    with os.fdopen(seen) as file:
        events = int(file.read() or 0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), events


def attack(name: str, fault: str = "kill", every: int = 1) -> int:
    """Interrupt a job before every so many-th event.

    Returns:
        The number of interruptions.

    Raises:
        SystemExit: Something was damaged, differs or was left.
    """
    wrong = []
    with TemporaryDirectory() as place:
        job = JOBS[name](Path(place))
        whole = Path(place, "whole")
        status, events = forked(job, whole, 0, FAULTS[fault])
        if status != 0:
            raise SystemExit(f"{name} ends with status {status}, uninterrupted")
        expected, names = job.content(whole), {path.name for path in whole.iterdir()}
        numbers = range(1, events + 1, every)
        for number in numbers:
            folder = Path(place, f"{number}")
            first, _ = forked(job, folder, number, FAULTS[fault])
            try:
                job.check(folder)
                second, _ = forked(job, folder, 0, FAULTS[fault])
                found = job.content(folder)
                left = {path.name for path in folder.iterdir()} ^ names
                differ = [key for key in expected if found.get(key) != expected[key]]
            except (OSError, ValueError, RuntimeError) as error:
                second, left, differ = -1, set(), [repr(error)]
            if second != 0 or left or differ:
                what = f"status {first}, then {second}; left {left}; differ {differ}"
                wrong.append(f"event {number}: {what}")
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{name}, {fault}: {len(numbers)} interruptions, {len(wrong)} faults", *wrong)
    if wrong:
        raise SystemExit(1)
    return len(numbers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--fault", choices=FAULTS, default="kill")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    attack(options.job, options.fault, options.every)
