"""Decoding in processes, of which there may be more later."""

from math import inf

import numpy as np
import pytest
from PIL import Image

from rkdo_plugin.export import Item
from rkdo_plugin.export.reading import decoding
from rkdo_plugin.export.reading.decoding import Decoder


def read(decoder, paths):
    """Keys, rows and reasons of all chunks."""
    items = (Item(str(number), path) for number, path in enumerate(paths))
    with decoder:
        chunks = list(decoder.map(items, lambda pixels: pixels.mean((1, 2))))
    keys = [item.key for found, *_ in chunks for item in found]
    reasons = [reason for *_, found in chunks for reason in found]
    return keys, np.concatenate([rows for _, rows, _ in chunks]), reasons


@pytest.mark.parametrize(("starved", "workers"), [(-1.0, 2), (inf, 1)])
def test_workers_are_added_where_lanes_wait(tmp_path, monkeypatch, starved, workers):
    monkeypatch.setattr(decoding, "CHUNK_IMAGES", 3)
    monkeypatch.setattr(decoding, "PATIENCE", 0.0)
    monkeypatch.setattr(decoding, "STARVED", starved)
    paths = [tmp_path / f"{number}.png" for number in range(40)]
    for number, path in enumerate(paths[1:]):  # the first one is missing
        Image.new("RGB", (9, 9), (number, 0, 0)).save(path)
    keys, rows, reasons = read(Decoder(8, 3, 0, 3), paths)
    assert keys == [str(number) for number in range(len(paths))]
    decoder = Decoder(8, 3, 1, 3, lanes=2, most_workers=2)
    others, found, why = read(decoder, paths)
    assert decoder.workers == workers
    assert others == keys and why == reasons
    np.testing.assert_array_equal(found, rows)
