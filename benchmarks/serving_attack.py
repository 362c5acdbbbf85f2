"""Attack `rkdo serve` over HTTP and gRPC.

    python benchmarks/serving_attack.py [REQUESTS]

Sends requests, 20,000 by default, of which half are bad: fuzzed bodies, wrong types and
shapes, 50 MB of junk, clients that are slow or go away. One in five goes over gRPC. It
fails unless every good request gets the right vector, every bad one a refusal, and the
process neither ends nor grows.
"""

import contextlib
import http.client
import io
import json
import random
import socket
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import numpy as np
from kserve.protocol.grpc.grpc_predict_v2_pb2 import (
    ModelInferRequest,
    ModelInferResponse,
)
from numpy.typing import NDArray
from PIL import Image
from served import Body, Headers, binary, exported, served

from rkdo_plugin.export import EmbeddingSession
from rkdo_plugin.export.encoder.images import sample_images

CLIENTS = 16
SLOW = 32  # clients that send half a request, and then nothing
JUNK = 50 * 2**20  # bytes
REFUSALS = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
)
CALL = "/inference.GRPCInferenceService/ModelInfer"


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


def message(model: str, array: NDArray[np.uint8]) -> bytes:
    """A request over gRPC."""
    tensor = {"name": "image", "datatype": "UINT8", "shape": array.shape}
    request = ModelInferRequest(
        model_name=model, inputs=[tensor], raw_input_contents=[array.tobytes()]
    )
    return bytes(request.SerializeToString())


def mutated(body: bytes, dice: random.Random) -> bytes:
    """Bytes of which some are changed, lost or added."""
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
    return bytes(content)


class Attack:
    """Requests of every kind, and what came of them.

    Args:
        ports: Of HTTP and gRPC.
        model: Name of the encoder.
        session: The same encoder.
    """

    def __init__(
        self, ports: tuple[int, int], model: str, session: EmbeddingSession
    ) -> None:
        self.port, self.model = ports[0], model
        self.path = f"/v2/models/{model}/infer"
        # As bytes: a message of the protocol cannot be malformed.
        self.call = grpc.insecure_channel(f"127.0.0.1:{ports[1]}").unary_unary(CALL)
        self.images = sample_images(64, session.image_size, session.channels)
        self.vectors = session.embed(self.images)
        self.seen: Counter[str] = Counter()

    def send(self, number: int) -> None:
        """Send the request of a number; its kind follows from the number."""
        dice = random.Random(number)
        if number % 10 == 4:
            self.good_call(dice)
        elif number % 10 == 9:
            self.refused_call(dice, junk=number % 1000 == 9)
        elif number % 2 == 0:
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

    def good_call(self, dice: random.Random) -> None:
        """Ask for vectors over gRPC, again after a refusal for want of room."""
        start = dice.randrange(60)
        part = slice(start, start + dice.randint(1, 4))
        while True:
            code, text = self.called(message(self.model, self.images[part]))
            if code != grpc.StatusCode.UNAVAILABLE:
                break
            self.seen["gRPC, came back later"] += 1
            time.sleep(0.2)
        right = False
        if code is grpc.StatusCode.OK:
            (raw,) = ModelInferResponse.FromString(text).raw_output_contents
            found = np.frombuffer(raw, np.float32).reshape(len(self.images[part]), -1)
            right = np.allclose(found, self.vectors[part], atol=1e-5)
        self.seen["gRPC, good" if right else f"WRONG gRPC {code}"] += 1

    def refused_call(self, dice: random.Random, junk: bool) -> None:
        """Send over gRPC what is no request."""
        content = message(self.model, self.images[:1])
        code, _ = self.called(bytes(JUNK) if junk else mutated(content, dice))
        known = code in REFUSALS or (code is grpc.StatusCode.OK and not junk)
        kind = "junk" if junk else "fuzzed"
        self.seen[f"gRPC, {kind}" if known else f"WRONG gRPC {kind} {code}"] += 1

    def called(self, content: bytes) -> tuple[grpc.StatusCode, bytes]:
        """The status and the bytes of an answer over gRPC."""
        try:
            return grpc.StatusCode.OK, self.call(content, timeout=120)
        except grpc.RpcError as error:
            return error.code(), b""

    def fuzzed(self, dice: random.Random) -> Body:
        """A good request in which bytes are changed, lost or added."""
        body, headers = dice.choice([binary, encoded, plain])(self.images[:1])
        content = mutated(body, dice)
        if headers and dice.random() < 0.2:
            headers = {name: str(dice.randint(-9, 9**20)) for name in headers}
        return content, headers

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
    with served(model) as (port, rpc_port, process), contextlib.ExitStack() as slow:
        sent = Attack((port, rpc_port), model.stem, session)
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


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        small, _ = exported(made)
        attack(small, int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
