"""How many processes decode beside a model."""

import numpy as np
import pytest

from rkdo_plugin.export import Item
from rkdo_plugin.export.serving import shares
from rkdo_plugin.export.serving.shares import seconds_for_each, workers_for


@pytest.mark.parametrize(
    ("available", "decoding", "embedding", "workers"),
    [
        (2, 0.0035, 0.034, 1),  # photographs for a ResNet-18
        (2, 0.0002, 0.0001, 2),  # thumbnails for a small convnet
        (64, 0.0035, 0.034, 9),
        (64, 0.14, 0.034, 64),  # photographs as cameras write them
        (64, 0.0035, 1e-9, 64),  # a model that costs nothing
        (64, 1e-9, 0.034, 1),
        (1, 0.0035, 0.034, 1),
    ],
)
def test_workers_of_some_jobs(available, decoding, embedding, workers):
    assert workers_for(available, decoding, embedding) == workers


@pytest.mark.parametrize("available", [1, 2, 3, 8, 64])
def test_decoding_never_is_what_a_shared_machine_waits_for(available):
    """A step at a time: workers fill a queue, the model's threads take what is left."""
    rng = np.random.default_rng(0)
    for decoding, embedding in 10 ** rng.uniform(-4, 0, (20, 2)):
        workers = workers_for(available, decoding, embedding)
        queue = done = 0.0
        step, room = decoding / 10, 3 * workers + available
        steps = 20_000
        for _ in range(steps):
            # Both sides want cores; who finds no room, or no image, wants none.
            wanting = workers if queue < room else 0
            running = min(available, int(queue))
            share = min(1.0, available / max(wanting + running, 1))
            made = wanting * share * step / decoding
            taken = min(queue, running * share * step / embedding)
            queue, done = queue + made - taken, done + taken
        fair = steps * step * available / (decoding + embedding)
        assert done > 0.9 * fair - room


class Clock:
    """A model and a decoder that take the time that they say, the first ones more."""

    image_size, channels, threads = 4, 3, 2

    def __init__(self):
        self.now, self.embeds, self.decodes = 0.0, 0, 0

    def embed(self, batch):
        self.embeds += len(batch)
        self.now += 0.5 if self.embeds > 1 else 9.0

    def decode(self, pixels, places, *_):
        assert len(pixels) == len(places)
        self.decodes += 1
        self.now += 0.25 if self.decodes > 1 else 9.0


@pytest.mark.parametrize("images", [0, 3, 100])
def test_some_images_are_timed(monkeypatch, images):
    clock = Clock()
    monkeypatch.setattr(shares, "decode_into", clock.decode)
    monkeypatch.setattr(shares, "perf_counter", lambda: clock.now)
    source = [Item(str(number), b"") for number in range(images)]
    decoding, embedding = seconds_for_each(clock, source, draft=False)
    assert (decoding, embedding) == (0.25 if images else 0.0, 2 * 0.5)
    assert clock.decodes <= shares.TRIED + 1 and clock.embeds == shares.RUNS
