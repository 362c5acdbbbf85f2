"""Train, export and serve for long, and look whether anything grows.

    python benchmarks/soak.py train [--steps 2000]
    python benchmarks/soak.py export [--exports 2000]
    python benchmarks/soak.py serve [--requests 100000]

Prints, after a warm-up of a tenth, the mean of the first tenth and of the last one: the
memory of all processes, their open files, child processes, threads, and the files in
/dev/shm and in a folder for temporary files of its own. It fails if memory grew by more
than 5 % and 10 MiB, or anything else at all. Linux only.
"""

import argparse
import http.client
import json
import os
import re
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from statistics import mean
from typing import Any

import grpc
import numpy as np
import pytorch_lightning as pl
import torch
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferResponse
from served import binary, served
from serving_attack import CALL, message
from torch import nn

from rkdo_plugin.export import EmbeddingSession, Encoder, export_onnx
from rkdo_plugin.recipes.training.settings import Execution, RunSettings
from rkdo_plugin.recipes.training.train import train

SAMPLES = 110  # at most: 10 of the warm-up, and 10 for each tenth of the rest
SHARE, LEAST = 0.05, 10.0  # by which memory may grow; MiB
CLIENTS = 8
LOADS = 10  # of each export
SHARED = Path("/dev/shm")
Usage = dict[str, float]


class Watch:
    """What a process and its children use, looked at along the way.

    Args:
        process: The process.
        total: Number of steps.
        temporary: The folder for temporary files.
    """

    def __init__(self, process: int, total: int, temporary: Path) -> None:
        self.process, self.temporary = process, temporary
        self.every = max(1, total // SAMPLES)
        self.seen: list[Usage] = []
        self.known: set[str] = set()
        self.started = time.perf_counter()

    def step(self, number: int) -> None:
        """Look, if it is time to."""
        if number % self.every == 0:
            self.seen.append(usage(self.process, self.temporary, self.known))

    def report(self, what: str) -> list[str]:
        """Print the table, and return the names of what grew."""
        warm = self.seen[len(self.seen) // 11 :]
        tenth = max(1, len(warm) // 10)
        seconds = time.perf_counter() - self.started
        print(f"{what} in {seconds:.0f} s, {len(warm)} looks after the warm-up")
        print(f"{'':18}{'first tenth':>12}{'last tenth':>12}{'most':>10}")
        grew = []
        for name in warm[0]:
            values = [each[name] for each in warm]
            first, last = mean(values[:tenth]), mean(values[-tenth:])
            print(f"{name:18}{first:12.1f}{last:12.1f}{max(values):10.1f}")
            room = max(LEAST, SHARE * first) if name == "memory, MiB" else 0.5
            if last > first + room:
                grew.append(name)
        return grew


def usage(process: int, temporary: Path, known: set[str]) -> Usage:
    """What a process and its children use now.

    Args:
        process: The process.
        temporary: The folder for temporary files.
        known: Ids of the processes that were seen, to which these are added. Names of
            files in shared memory tell whose they are.
    """
    family = with_children(process)
    known.update(map(str, family))
    others = sum(
        not known & {*re.findall(r"\d+", file.name)} for file in SHARED.iterdir()
    )
    pages = [int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in family]
    return {
        "memory, MiB": sum(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "open files": sum(entries(f"/proc/{one}/fd") for one in family),
        "child processes": len(family) - 1,
        "threads": sum(entries(f"/proc/{one}/task") for one in family),
        "files in shm": entries(SHARED) - others,
        "temporary files": entries(temporary),
    }


def with_children(process: int) -> list[int]:
    """A process, its children, theirs, and so on."""
    family = [process]
    for member in family:
        for task in Path(f"/proc/{member}/task").iterdir():
            family += map(int, (task / "children").read_text().split())
    return family


def entries(folder: str | Path) -> int:
    """The number of entries."""
    return len(list(Path(folder).iterdir()))


class Steps(pl.Callback):
    """Looks after steps of a training."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Look, if it is time to."""
        self.watch.step(trainer.global_step)


def soak_training(steps: int, folder: Path, temporary: Path) -> list[str]:
    """Train with a response field, two workers, and a checkpoint every 10 steps."""
    settings = RunSettings(
        loss="icon",
        field="hog",
        field_options={"field_weight": 0.5},
        encoder="small-convnet",
        limit=512,
        batch_size=32,
        epochs=-(-steps // 16),
    )
    watch = Watch(os.getpid(), steps, temporary)
    execution = Execution(checkpoint_every=10, progress=False)
    train(settings, folder / "run", execution, callbacks=[Steps(watch)])
    return watch.report(f"{steps} steps of training")


def tiny() -> Encoder:
    """An encoder of 8 pixels, with random weights."""
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Encoder(backbone, image_size=8, mean=[0.5] * 3, std=[0.25] * 3)


def soak_export(exports: int, folder: Path, temporary: Path) -> list[str]:
    """Export an encoder, load it and embed with it, again and again."""
    images = np.zeros((4, 8, 8, 3), np.uint8)
    watch = Watch(os.getpid(), exports, temporary)
    for number in range(1, exports + 1):
        export_onnx(tiny(), folder / "tiny.onnx", overwrite=True)
        for _ in range(LOADS):
            EmbeddingSession(folder / "tiny.onnx", "cpu").embed(images)
        watch.step(number)
    return watch.report(f"{exports} exports, and {LOADS} loads of each,")


def soak_server(requests: int, folder: Path, temporary: Path) -> list[str]:
    """Ask a server; every fifth time over gRPC, every 50th for a model it lacks."""
    export_onnx(tiny(), folder / "tiny.onnx")
    dice = np.random.default_rng(0)
    images = dice.integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    expected = EmbeddingSession(folder / "tiny.onnx", "cpu").embed(images)
    with (
        served(folder / "tiny.onnx") as (port, rpc_port, process),
        ThreadPoolExecutor(CLIENTS) as clients,
        closing(Clients(port, rpc_port)) as at,
    ):
        watch = Watch(process, requests, temporary)

        def send(number: int) -> bool:
            part = slice(number % 5, number % 5 + number % 3 + 1)
            if number % 50 == 0:
                return at.ask(f"none{number}", images[part]) is None
            found = (at.call if number % 5 == 0 else at.ask)("tiny", images[part])
            return np.allclose(found, expected[part], atol=1e-5)

        for end in range(watch.every, requests + 1, watch.every):
            numbers = range(end - watch.every, end)
            if not all(clients.map(send, numbers)):
                raise SystemExit(f"a wrong answer to one of the requests {numbers}")
            watch.step(end)
        return watch.report(f"{requests} requests of {CLIENTS} clients")


class Clients:
    """Ask a server over HTTP, one connection for each thread, and over gRPC."""

    def __init__(self, port: int, rpc_port: int) -> None:
        self.port, self.own, self.all = port, threading.local(), []
        self.channel = grpc.insecure_channel(f"127.0.0.1:{rpc_port}")
        self.unary = self.channel.unary_unary(CALL)

    def ask(self, model: str, images: Any) -> Any:
        """Vectors over HTTP; None where that is refused."""
        if not hasattr(self.own, "at"):
            self.own.at = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            self.all.append(self.own.at)
        body, headers = binary(images, raw=True)
        self.own.at.request("POST", f"/v2/models/{model}/infer", body, headers)
        answer = self.own.at.getresponse()
        content, head = answer.read(), answer.headers
        if answer.status != 200:
            return None
        start = int(head["Inference-Header-Content-Length"])
        (output,) = json.loads(content[:start])["outputs"]
        return np.frombuffer(content[start:], np.float32).reshape(output["shape"])

    def call(self, model: str, images: Any) -> Any:
        """Vectors over gRPC."""
        answer = ModelInferResponse.FromString(self.unary(message(model, images)))
        (raw,) = answer.raw_output_contents
        return np.frombuffer(raw, np.float32).reshape(len(images), -1)

    def close(self) -> None:
        """End all connections: a server that stops waits for them."""
        self.channel.close()
        for connection in self.all:
            connection.close()


def soak(kind: str, count: int) -> None:
    """Do it, in folders of its own.

    Raises:
        SystemExit: Something grew, or an answer was wrong.
    """
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    torch.set_num_threads(1)
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as temporary,
    ):
        os.environ["TMPDIR"] = tempfile.tempdir = temporary
        try:
            grew = KINDS[kind][1](count, Path(folder), Path(temporary))
        finally:
            del os.environ["TMPDIR"]
            if before[0] is not None:
                os.environ["TMPDIR"] = before[0]
            tempfile.tempdir = before[1]
    if grew:
        raise SystemExit(f"grew: {', '.join(grew)}")


KINDS = {
    "train": ("--steps", soak_training, 2000),
    "export": ("--exports", soak_export, 2000),
    "serve": ("--requests", soak_server, 100_000),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind, (option, _, count) in KINDS.items():
        kinds.add_parser(kind).add_argument(
            option, dest="count", type=int, default=count
        )
    options = parser.parse_args(sys.argv[1:])
    soak(options.kind, options.count)
