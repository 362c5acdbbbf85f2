"""The scripts of examples/ run as they stand, on tiny data."""

import importlib.util
import runpy
import sys

import pytest
import torch
from checkout import ROOT
from photographs import random_folder


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return random_folder(tmp_path / "photographs", 8, (40, 48, 3), "jpg")


def test_a_lightly_script_trains_with_the_swapped_loss_and_its_encoder_is_exported(
    photographs, tmp_path
):
    torch.manual_seed(0)
    # Fewer images than the script's batch: they are one batch.
    checkpoint = script("swap_loss.py").main(photographs, epochs=1)
    neighbours = script("export_encoder.py").main(checkpoint, photographs, tmp_path)
    names = {f"{number}.jpg" for number in range(8)}
    assert neighbours.keys() == names
    assert all(n in names and n != image for image, n in neighbours.items())


def test_a_script_of_ones_own_trains_with_a_response_field(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    scores = script("response_field.py").main(epochs=1)
    assert scores.keys() == {"knn", "linear"}
    assert scores["knn"] > 0.5


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("swap_loss.py", []),
        ("export_encoder.py", ["some.ckpt"]),
        ("response_field.py", ["photographs"]),
    ],
)
def test_other_arguments_than_a_script_takes_are_a_usage_line(name, words, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, *words])
    with pytest.raises(SystemExit, match=f"usage: python examples/{name}"):
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
