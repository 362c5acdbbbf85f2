"""Attack `rkdo serve`, and measure how fast it is beside the encoder alone.

    python benchmarks/serving.py [REQUESTS]

The first part sends requests, 20,000 by default, of which half are bad: fuzzed bodies,
wrong types and shapes, 50 MB of junk, clients that are slow or go away. It fails unless
every good request gets the right vector, every bad one a refusal, and the process
neither ends nor grows. The second part loads the server until it is busy, in turn with
`EmbeddingSession` alone, and prints the ratio of their images per second and the 99th
percentile of the answers' times in units of the encoder's own time for one batch.

Clients run on the same cores as the server, so the ratio is a lower bound.
"""

import contextlib
import http.client
import io
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rkdo_plugin.export import EmbeddingSession
from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.export.encoder.images import sample_images

CLIENTS = 16
SLOW = 32  # clients that send half a request, and then nothing
JUNK = 50 * 2**20  # bytes
ROUNDS, SECONDS = 5, 5  # of each side of the measurement, in turn
BATCH = 8  # images of a request there, and of the encoder's own batches
Headers = dict[str, str]
Body = tuple[bytes, Headers]
EXPORT = """
import sys, torch
from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder, export_onnx
torch.manual_seed(0)
for name, size in (("small-convnet", 32), ("resnet18", 224)):
    encoder = Encoder(create_encoder(name), image_size=size, mean=[.5]*3, std=[.25]*3)
    export_onnx(encoder, f"{sys.argv[1]}/{name}.onnx")
"""


@contextlib.contextmanager
def served(model: Path) -> Iterator[tuple[int, int]]:
    """Run `rkdo serve` and yield its port and its process."""
    words = f"serve {model} --port 0 --grpc-port 0 --provider cpu".split()
    command = [sys.executable, "-m", "rkdo_plugin.cli", *words]
    with (model.parent / "log").open("w+") as log:
        process = subprocess.Popen(command, stderr=log)
        try:
            while '"serving"' not in (text := (model.parent / "log").read_text()):
                if process.poll() is not None:
                    raise RuntimeError(text)
                time.sleep(0.1)
            yield json.loads(text.splitlines()[1])["port"], process.pid
            process.send_signal(signal.SIGTERM)
            if process.wait(60) != 0:
                raise RuntimeError(f"exit {process.returncode}")
        finally:
            process.kill()
        failures = [
            line
            for line in (model.parent / "log").read_text().splitlines()
            if json.loads(line)["level"] != "INFO"
        ]
        print(f"lines of warnings or errors in the log: {len(failures)}", *failures[:2])


def binary(array: NDArray[np.uint8], raw: bool = False, **changed: object) -> Body:
    """A request in the binary form, with changed fields of its input.

    With `raw` the answer is to be binary, too.
    """
    parameters = {"binary_data_size": array.size}
    tensor = {"name": "image", "datatype": "UINT8", "shape": array.shape}
    tensor |= {"parameters": parameters, **changed}
    whole = {"inputs": [tensor], "parameters": {"binary_data_output": raw}}
    head = json.dumps(whole).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    return head + array.tobytes(), length


def encoded(array: NDArray[np.uint8]) -> Body:
    """The same as PNG files."""
    content = b""
    for image in array:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        content += len(file.getvalue()).to_bytes(4, "little") + file.getvalue()
    shape, size = [len(array)], {"binary_data_size": len(content)}
    fields = {"name": "encoded", "datatype": "BYTES", "parameters": size}
    head = json.dumps({"inputs": [{"shape": shape, **fields}]}).encode()
    return head + content, {"Inference-Header-Content-Length": str(len(head))}


def plain(array: NDArray[np.uint8]) -> Body:
    """The same in JSON."""
    tensor = {"name": "image", "datatype": "UINT8", "shape": array.shape}
    return json.dumps({"inputs": [{**tensor, "data": array.tolist()}]}).encode(), {}


class Attack:
    """Requests of every kind, and what came of them."""

    def __init__(self, port: int, path: str, session: EmbeddingSession) -> None:
        self.port, self.path = port, path
        self.images = sample_images(64, session.image_size, session.channels)
        self.vectors = session.embed(self.images)
        self.seen: Counter[str] = Counter()

    def send(self, number: int) -> None:
        """Send the request of a number; its kind follows from the number."""
        dice = random.Random(number)
        if number % 2 == 0:
            self.good(dice)
        elif number % 500 == 1:
            self.refused(bytes(JUNK), {}, "junk")
        elif number % 500 == 3:
            self.refused(bytes(JUNK * 2), {}, "too much junk")
        elif number % 50 == 5:
            self.leave(dice)
        else:
            kind = dice.choice([self.fuzzed, self.wrong])
            self.refused(*kind(dice), kind.__name__)

    def good(self, dice: random.Random) -> None:
        """Ask for vectors, again after a refusal for want of room."""
        start = dice.randrange(60)
        part = slice(start, start + dice.randint(1, 4))
        form = dice.choice([binary, encoded, plain])
        body, headers = form(self.images[part])
        while (answer := self.post(body, headers))[0] == 503:
            self.seen["good, came back later"] += 1
            time.sleep(0.2)
        status, text = answer
        right = False
        if status == 200:
            (output,) = json.loads(text)["outputs"]
            found = np.reshape(output["data"], output["shape"])
            right = np.allclose(found, self.vectors[part], atol=1e-5)
        self.seen["good" if right else f"WRONG {status}"] += 1

    def refused(self, body: bytes, headers: Headers, kind: str) -> None:
        """Send what is no request."""
        try:
            status, _ = self.post(body, headers)
        except OSError:  # closed before all was sent
            status = 0
        known = status in (400, 413, 503) or (status == 0 and kind == "too much junk")
        # A fuzzed byte may lie in a pixel.
        known |= status == 200 and kind == "fuzzed"
        self.seen[f"{kind}" if known else f"WRONG {kind} {status}"] += 1

    def fuzzed(self, dice: random.Random) -> Body:
        """A good request in which bytes are changed, lost or added."""
        body, headers = dice.choice([binary, encoded, plain])(self.images[:1])
        content = bytearray(body)
        for _ in range(dice.randint(1, 20)):
            place = dice.randrange(len(content))
            match dice.randrange(3):
                case 0:
                    content[place] = dice.randrange(256)
                case 1:
                    del content[place : place + dice.randint(1, 9)]
                case _:
                    content[place:place] = dice.randbytes(dice.randint(1, 9))
        if headers and dice.random() < 0.2:
            headers = {name: str(dice.randint(-9, 9**20)) for name in headers}
        return bytes(content), headers

    def wrong(self, dice: random.Random) -> Body:
        """A well-formed request that asks for something else."""
        return binary(
            self.images[:1],
            **dice.choice(
                [
                    {"datatype": dice.choice(["FP32", "BYTES", "INT64", "", "x"])},
                    {
                        "shape": dice.choice(
                            [[1], [], [-1, 2], [0, 1, 1, 1], [9**9] * 4]
                        )
                    },
                    {"shape": [1, 8, dice.randint(1, 99), 3]},
                    {"name": dice.choice(["", "input", "encoded", "x" * 10**5])},
                    {"parameters": {"binary_data_size": dice.randint(-9, 9**9)}},
                    {"parameters": {}},
                    {"data": [1, 2, 3]},
                ]
            ),
        )

    def leave(self, dice: random.Random) -> None:
        """Send a part of a request, or all of it, and go away."""
        body, headers = binary(self.images[:4])
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {self.path} HTTP/1.1\r\nHost: x\r\n{lines}"
        words = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        with socket.create_connection(("127.0.0.1", self.port)) as at:
            at.sendall(words[: dice.randint(1, len(words))])
        self.seen["went away"] += 1

    def post(self, body: bytes, headers: Headers) -> tuple[int, bytes]:
        """The status and the text of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        with contextlib.closing(connection):
            connection.request("POST", self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()


def mebibytes(process: int, field: str = "VmRSS") -> float:
    """Memory of a process, on Linux."""
    status = Path(f"/proc/{process}/status").read_text()
    return next(
        int(line.split()[1]) / 1024
        for line in status.splitlines()
        if line.startswith(field)
    )


def attack(model: Path, requests: int) -> None:
    """Send the requests, and say what came of them."""
    session = EmbeddingSession(model, provider="cpu")
    with served(model) as (port, process), contextlib.ExitStack() as slow:
        sent = Attack(port, f"/v2/models/{model.stem}/infer", session)
        half = f"POST {sent.path} HTTP/1.1\r\nContent-Length: 99\r\n\r\n1".encode()
        for _ in range(SLOW):
            at = slow.enter_context(socket.create_connection(("127.0.0.1", port)))
            at.sendall(half)
        memory = []
        with ThreadPoolExecutor(CLIENTS) as clients:
            tenth = max(requests // 10, 1)
            for start in range(0, requests, tenth):
                numbers = range(start, min(start + tenth, requests))
                list(clients.map(sent.send, numbers))
                memory.append(mebibytes(process))
        print(f"{requests} requests of {CLIENTS} clients, {SLOW} slow ones beside them")
        for kind, count in sorted(sent.seen.items()):
            print(f"  {kind:24}{count:8}")
        print("MiB after each tenth:", *(f"{each:.0f}" for each in memory))
        print(f"MiB at the highest: {mebibytes(process, 'VmHWM'):.0f}")
        wrong = [kind for kind in sent.seen if kind.startswith("WRONG")]
        if wrong:
            raise SystemExit(f"wrong: {wrong}")


def speed(model: Path) -> None:
    """Load the server in turn with the encoder alone."""
    session = EmbeddingSession(model, provider="cpu")
    images = sample_images(BATCH, session.image_size, session.channels)
    body, headers = binary(images, raw=True)
    with served(model) as (port, _), ThreadPoolExecutor(CLIENTS) as clients:
        sent = Attack(port, f"/v2/models/{model.stem}/infer", session)
        times: list[float] = []

        def ask_until(end: float) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            asked = 0
            while (started := time.perf_counter()) < end:
                connection.request("POST", sent.path, body, headers)
                answer = connection.getresponse()
                assert answer.read() and answer.status == 200
                times.append(time.perf_counter() - started)
                asked += 1
            connection.close()
            return asked

        def through() -> float:
            started = time.perf_counter()
            asked = sum(clients.map(ask_until, [started + SECONDS] * CLIENTS))
            return asked * BATCH / (time.perf_counter() - started)

        def alone() -> float:
            started, runs = time.perf_counter(), 0
            while time.perf_counter() < started + SECONDS:
                session.embed(images)
                runs += 1
            return runs * BATCH / (time.perf_counter() - started)

        pairs = [(alone(), through()) for _ in range(ROUNDS)]
    ratios = sorted(answered / direct for direct, answered in pairs)
    batch = BATCH / statistics.median(direct for direct, _ in pairs)
    late = float(np.quantile(times, 0.99))
    print(
        f"{model.stem}, {'x'.join(map(str, sides(session.image_size)))} pixels, "
        f"{os.cpu_count()} cores: {statistics.median(ratios):.2f} of the encoder's own "
        f"images/s ({ratios[0]:.2f} to {ratios[-1]:.2f} in {ROUNDS} rounds)"
    )
    print(
        f"  99th percentile with {CLIENTS} clients: {late / batch:.1f} times the "
        f"encoder's own time for {BATCH} images"
    )


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        subprocess.run([sys.executable, "-c", EXPORT, made], check=True)
        small, large = Path(made, "small-convnet.onnx"), Path(made, "resnet18.onnx")
        attack(small, int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
        for each in (small, large):
            speed(each)
