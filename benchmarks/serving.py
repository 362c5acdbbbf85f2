"""How fast `rkdo serve` is beside the encoder alone.

    python benchmarks/serving.py

Loads the server until it is busy, in turn with `EmbeddingSession` alone, and prints the
ratio of their images per second and the 99th percentile of the answers' times. One
batch runs, and half of the next one waits; then all of it does. With two whole batches
on their way an answer takes the time of two on average, whatever the server does. A
round begins with a batch of the first request alone, which came before the others. Its
answers are told apart, as the server is not busy yet.

Clients run on the same cores as the server, so the ratio is a lower bound.
"""

import http.client
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from served import binary, exported, served

from rkdo_plugin.export import EmbeddingSession
from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.export.encoder.images import sample_images
from rkdo_plugin.export.serving.server_settings import ServerSettings

ROUNDS, SECONDS = 5, 5  # of each side of the measurement, in turn
ASKED = 8  # images of a request
SETTINGS = ServerSettings()
CLIENTS = [waiting * SETTINGS.max_batch // (2 * ASKED) for waiting in (3, 4)]


def speed(model: Path, clients: int) -> None:
    """Load the server in turn with the encoder alone, in batches of the same size."""
    session = EmbeddingSession(model, provider="cpu")
    images = sample_images(SETTINGS.max_batch, session.image_size, session.channels)
    body, headers = binary(images[:ASKED], raw=True)
    path = f"/v2/models/{model.stem}/infer"
    with served(model) as (port, *_), ThreadPoolExecutor(clients) as pool:
        times: list[tuple[bool, float]] = []

        def ask_until(end: float) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            asked = 0
            while (started := time.perf_counter()) < end:
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                assert answer.read() and answer.status == 200
                times.append((asked == 0, time.perf_counter() - started))
                asked += 1
            connection.close()
            return asked

        def through() -> float:
            started = time.perf_counter()
            asked = sum(pool.map(ask_until, [started + SECONDS] * clients))
            return asked * ASKED / (time.perf_counter() - started)

        def alone() -> float:
            started, runs = time.perf_counter(), 0
            while time.perf_counter() < started + SECONDS:
                session.embed(images)
                runs += 1
            return runs * len(images) / (time.perf_counter() - started)

        pairs = [(alone(), through()) for _ in range(ROUNDS)]
    ratios = sorted(answered / direct for direct, answered in pairs)
    batch = len(images) / statistics.median(direct for direct, _ in pairs)
    print(
        f"{model.stem}, {'x'.join(map(str, sides(session.image_size)))} pixels, "
        f"{os.cpu_count()} cores, {clients} clients with {ASKED} images each: "
        f"{statistics.median(ratios):.2f} of the encoder's own images/s "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f} in {ROUNDS} rounds)"
    )
    busy = [seconds / batch for first, seconds in times if not first]
    late = [float(np.quantile(busy, share)) for share in (0.5, 0.99)]
    first = max(seconds for first, seconds in times if first) / batch
    print(
        f"  an answer takes {late[0]:.1f} times a batch of {len(images)} alone "
        f"({1000 * batch:.0f} ms), the 99th percentile {late[1]:.1f} times; a client's "
        f"first answer of a round at most {first:.1f} times"
    )


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        for each in exported(made):
            for clients in CLIENTS:
                speed(each, clients)
