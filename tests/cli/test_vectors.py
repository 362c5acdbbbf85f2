import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from vector_tables import names, random_rows, write_vectors

from rkdo_plugin.cli.main import main

ROWS = random_rows(30, 5)


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Two encoders' vectors of thirty images, and the images."""
    monkeypatch.chdir(tmp_path)
    write_vectors(tmp_path / "a.parquet", ROWS)
    write_vectors(tmp_path / "b.parquet", ROWS[:, ::-1] + 1, metadata={})
    write_vectors(tmp_path / "c.parquet", ROWS + 9, metadata={"rkdo.sha256": "c" * 64})
    (tmp_path / "images").mkdir()
    for name in names(30):
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / name)
    return tmp_path


def run(words, capsys):
    status = main(words.split())
    return status, capsys.readouterr()


def test_neighbours(tables, capsys):
    words = "neighbours a.parquet --count 3 0001.png 0002.png --images images --out out"
    status, printed = run(words, capsys)
    assert status == 0
    lines = printed.out.splitlines()
    assert [lines[1], lines[5]] == ["0001.png", "0002.png"] and len(lines) == 11
    assert lines[9:] == ["contact sheet: out.png", "contact sheet: out.html"]
    status, printed = run(words, capsys)
    assert status == 1 and printed.out == ""  # refused before the search
    assert "pass --overwrite to replace it" in printed.err
    assert run(words + " --overwrite", capsys)[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("gone.parquet 0001.png", "at gone.parquet, a .parquet file or a folder"),
        ("a.parquet 0021-png", "(did you mean 0021.png?)"),
        ("a.parquet images/0001.png", "Expected --model, the encoder of a.parquet"),
        ("a.parquet 0001.png --count 30", "--count to be from 1 to 29"),
        ("a.parquet 0001.png --out sheet", "both --images and --out"),
        ("a.parquet 0001.png --images images", "but got only --images"),
    ],
)
def test_neighbours_refused(tables, capsys, words, message):
    status, printed = run("neighbours " + words, capsys)
    assert status == 1 and message in printed.err and not printed.out


def test_neighbours_of_nothing(tables, capsys):
    with pytest.raises(SystemExit) as status:
        main(["neighbours", "a.parquet"])
    assert status.value.code == 2
    assert "queries" in capsys.readouterr().err


def test_compare(tables, capsys):
    words = "compare a.parquet b.parquet --count 4 --images images --out moved.png"
    status, printed = run(words, capsys)
    assert status == 0 and "overlap of 4 neighbours" in printed.out
    assert "contact sheet: moved.png" in printed.out
    # Of each image that moved, its neighbours before and after.
    assert Image.open(tables / "moved.png").height > 24 * 160
    assert run(words, capsys)[0] == 1
    status, printed = run("compare a.parquet b.parquet --count 30", capsys)
    assert status == 1 and "--count to be from 1 to 29" in printed.err


def test_drift(tables, capsys):
    words = "drift a.parquet b.parquet --permutations 99"
    status, printed = run(words, capsys)
    assert status == 0 and "p = 0.0100" in printed.out
    assert "not checked: whether both are of one encoder" in printed.out
    assert run(words + " --fail-below 0.01", capsys)[0] == 0
    status, printed = run(words + " --fail-below 0.011", capsys)
    assert status == 1 and "MMD^2" in printed.out
    assert "Expected no p-value below 0.011 but got 0.0100" in printed.err
    status, printed = run("drift a.parquet c.parquet", capsys)
    assert status == 1 and "vectors of one encoder" in printed.err


def test_no_command_needs_torch(road, tmp_path):
    for number in range(8):
        pixels = np.full((28, 28), 30 * number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    model = str(road / "encoder.onnx")
    sheet = ["--images", ".", "--out", "sheet"]
    commands = [
        ["embed", model, ".", "v.parquet"],
        ["neighbours", "v.parquet", "0.png", "--count", "3", *sheet],
        ["neighbours", "v.parquet", "./0.png", "--count", "3", "--model", model],
        ["compare", "v.parquet", "v.parquet", "--count", "3"],
        ["drift", "v.parquet", "v.parquet"],
    ]
    program = (
        "import sys; from rkdo_plugin.cli.main import main\n"
        f"for words in {commands}: assert main(words) == 0, words\n"
        "assert not {'torch', 'lightly'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", program]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
