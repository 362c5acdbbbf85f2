"""What the progress bar says of both sides."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from rkdo_plugin.export import Item, open_source
from rkdo_plugin.export.serving import run as module
from rkdo_plugin.export.serving.run import Run


@pytest.mark.parametrize(("waits", "slower"), [(0.9, "decoding"), (0.1, "model")])
def test_the_slower_side_is_that_of_this_part(
    session, tmp_path, monkeypatch, waits, slower
):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    clock = iter(range(100))
    monkeypatch.setattr(module, "perf_counter", lambda: float(next(clock)))
    said = []
    run = Run(session, open_source(tmp_path), 4, pa.float32(), False, False)
    run.progress = SimpleNamespace(
        set_postfix_str=lambda text, refresh: said.append(text), update=lambda *_: None
    )
    run.engine = SimpleNamespace(waited=1000.0)  # of the parts before

    def mapped(items):
        for item in items:
            run.engine.waited += waits
            yield [item], np.zeros((1, session.dim), np.float32), [None]

    run.mapped = mapped
    list(run.rows([Item("a", tmp_path / "a.png"), Item("b", tmp_path / "a.png")]))
    assert said == [f"slower: {slower}"] * 2
