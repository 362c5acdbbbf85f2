"""Kill `rkdo serve` while it answers, and start it again on the same ports.

    python benchmarks/serving_kills.py [--kills 20]

Clients ask over HTTP and gRPC without a pause. The server is killed with SIGKILL at a
random moment within a second, and the same command starts it again. It fails at a wrong
answer, at a client that gets neither an answer nor an error, at a server that does not
come back, at a file that is left in shared memory or in the folder for temporary ones,
and if the model's file changes. Linux only.
"""

import argparse
import http.client
import os
import random
import re
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import grpc
import numpy as np
from numpy.typing import NDArray
from served import started
from soak import SHARED, Clients, tiny, with_children

from rkdo_plugin.export import EmbeddingSession, export_onnx

CLIENTS = 4  # every second one over gRPC
WAIT = 30.0  # seconds in which a client's last request has to end


def ask(
    ports: tuple[int, int],
    number: int,
    images: NDArray[np.uint8],
    expected: NDArray[np.float32],
    killed: threading.Event,
) -> tuple[int, int]:
    """Ask until the server is gone; the number of right answers and of wrong ones."""
    right = wrong = 0
    with closing(Clients(*ports)) as at:
        send = at.call if number % 2 else at.ask
        while True:
            try:
                found = send("tiny", images)
            except (http.client.HTTPException, OSError, grpc.RpcError):
                if killed.is_set():
                    return right, wrong
                raise
            if found is not None and np.allclose(found, expected, atol=1e-5):
                right += 1
            else:
                wrong += 1


def mapped(process: int) -> set[Path]:
    """The files in shared memory that a process and its children have mapped."""
    maps = "".join(
        Path(f"/proc/{one}/maps").read_text() for one in with_children(process)
    )
    return {Path(name) for name in re.findall(rf"{SHARED}/\S+", maps)}


def attack(kills: int) -> int:
    """Kill a server so many times, and return the number of right answers.

    Raises:
        SystemExit: Something was wrong, or was left.
    """
    moments, right, wrong = random.Random(0), 0, 0
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as temporary,
    ):
        model = Path(folder, "tiny.onnx")
        export_onnx(tiny(), model)
        content = model.read_bytes()
        dice = np.random.default_rng(0)
        images = dice.integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
        expected = EmbeddingSession(model, "cpu").embed(images)
        before, shared = os.environ.get("TMPDIR"), set[Path]()
        os.environ["TMPDIR"] = temporary
        try:
            ports = 0, 0
            for _ in range(kills):
                process, ports = started(model, *ports)
                killed = threading.Event()
                with ThreadPoolExecutor(CLIENTS) as clients:
                    asking = [
                        clients.submit(ask, ports, number, images, expected, killed)
                        for number in range(CLIENTS)
                    ]
                    time.sleep(moments.random())
                    # Only the server's own: others on the machine use the folder, too.
                    shared |= mapped(process.pid)
                    killed.set()
                    process.kill()
                    process.wait()
                    found = [each.result(WAIT) for each in asking]
                right += sum(one for one, _ in found)
                wrong += sum(other for _, other in found)
        finally:
            del os.environ["TMPDIR"]
            if before is not None:
                os.environ["TMPDIR"] = before
        left = [*Path(temporary).iterdir(), *filter(Path.exists, shared)]
        same = model.read_bytes() == content
    print(
        f"{kills} kills: {right} right answers, {wrong} wrong, {len(left)} files left"
    )
    print(*left, sep="\n")
    if wrong or left or not same:
        raise SystemExit(1)
    return right


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    attack(parser.parse_args().kills)
