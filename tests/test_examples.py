"""The scripts of examples/ run as they stand, on tiny data."""

import ast
import importlib.util
import re
import runpy
import sys

import jupytext
import pytest
import torch
from checkout import ROOT
from photographs import random_folder

from rkdo_plugin import RKDOLoss

NOTEBOOKS = ("lightly_project.py", "own_loop.py", "production.py")


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


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_worked_example_is_a_notebook(name, tmp_path):
    source = ROOT / "examples" / name
    jupytext.write(jupytext.read(source), tmp_path / "example.ipynb")
    first, *cells = jupytext.read(tmp_path / "example.ipynb").cells
    assert first.cell_type == "markdown"
    assert first.source.startswith("After this notebook you can ")
    # The cells of code are the script without its docstring.
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    script_of_it = ast.parse(source.read_text())
    del script_of_it.body[0]
    assert ast.dump(ast.parse(code)) == ast.dump(script_of_it)
    words = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert len(words) >= 4
    for link in re.findall(r"\]\(([^)#]+)", "\n".join(words)):
        assert (source.parent / link).is_file(), link


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """Runs a worked example, and returns its variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return lambda name: runpy.run_path(str(ROOT / "examples" / name))


def test_the_lightly_project_trains_with_another_loss_and_a_field(ran):
    found = ran("lightly_project.py")
    assert len(found["scores"]) == 3
    assert all(each["linear"] > 0.8 for each in found["scores"].values())
    assert isinstance(found["swapped"].criterion, RKDOLoss)
    assert found["field"].trust > 0.3  # pixels are worth something on digits


def test_the_loop_of_ones_own_trains_measures_and_saves(ran):
    found = ran("own_loop.py")
    assert all(each["knn"] > 0.9 for each in found["scores"].values())
    assert all(each["rank_me"] > 10 for each in found["scores"].values())
    assert found["nothing"].trust == 0 < found["field"].trust


def test_the_road_to_production_ends_in_neighbours_and_a_drift(ran):
    found = ran("production.py")
    assert found["report"].passed and found["report"].images == 360
    for query, keys in zip(found["queries"], found["found"].keys, strict=True):
        assert sum(key[0] == query[0] for key in keys) >= 3  # the class
    assert found["changed"].mmd_p < 0.01
    assert (found["here"] / "sheet.html").is_file()
