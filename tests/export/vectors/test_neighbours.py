"""Neighbours of keys and of image files, and what is refused."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkout import blocks
from photographs import random_folder
from PIL import Image
from vector_tables import in_memory, names, random_rows, write_vectors

from rkdo_plugin.cli.main import main
from rkdo_plugin.export import EmbeddingSession, embed_images, export_onnx, neighbours

ROWS = random_rows(20, 4)


@pytest.fixture
def embedded(tmp_path, small_file, images):
    """A folder of images, with their vectors and the encoder."""
    (tmp_path / "images").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
    session = EmbeddingSession(small_file, "cpu")
    embed_images(session, tmp_path / "images", tmp_path / "v.parquet")
    return tmp_path


def test_of_keys(tmp_path):
    path = write_vectors(tmp_path / "v.parquet", ROWS)
    found = neighbours(path, ["0003.png", "0019.png"], count=5)
    unit = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    for query, keys, cosines in zip((3, 19), found.keys, found.cosines, strict=True):
        every = unit @ unit[query]
        order = [row for row in np.argsort(-every) if row != query][:5]
        assert list(keys) == [names(20)[row] for row in order]
        np.testing.assert_allclose(cosines, every[order], atol=1e-6)
    assert found.queries == ("0003.png", "0019.png")
    lines = str(found).splitlines()
    assert lines[0] == f"nearest of 20 vectors in {path}, by cosine"
    assert lines[1] == "0003.png" and lines[7] == "0019.png" and len(lines) == 13
    assert lines[2] == f"    1   {found.cosines[0, 0]:.4f}  {found.keys[0][0]}"


def test_a_file_has_the_neighbours_of_its_key(embedded, small_file):
    file = embedded / "images" / "4.png"
    found = neighbours(
        embedded / "v.parquet", [file, "4.png", file], model=small_file, count=7
    )
    assert found.queries == (file, "4.png", file)
    assert found.keys[0][0] == "4.png" and found.keys[0] == found.keys[2]
    assert found.keys[0][1:] == found.keys[1][:6]
    np.testing.assert_allclose(found.cosines[0, 0], 1, atol=1e-6)
    assert found.sheet.rows[0].first.file == file and not found.sheet.rows[1].first.file


def test_all_vectors_are_neighbours_of_a_file(embedded, small_file):
    session = EmbeddingSession(small_file, "cpu")
    file = embedded / "images" / "4.png"
    found = neighbours(embedded / "v.parquet", [str(file)], model=session, count=9)
    assert sorted(found.keys[0]) == [f"{number}.png" for number in range(9)]


def test_a_file_without_its_encoder(embedded, make_small, small_file, tmp_path):
    file, vectors = embedded / "images" / "4.png", embedded / "v.parquet"
    with pytest.raises(
        ValueError, match=r"Expected `model`, .* which is a file and no"
    ):
        neighbours(vectors, [file])
    export_onnx(make_small(seed=1), tmp_path / "other.onnx")
    with pytest.raises(
        ValueError, match=r"encoder of .*v\.parquet, whose rkdo\.sha256"
    ):
        neighbours(vectors, [file], model=tmp_path / "other.onnx")
    lost = in_memory(random_rows(9, 64), metadata={})
    with pytest.raises(ValueError, match="is not in its metadata, but that of small"):
        neighbours(lost, [file], model=small_file)


def test_a_file_that_cannot_be_read(embedded, small_file):
    (embedded / "broken.png").write_text("no image")
    with pytest.raises(OSError, match=r"an image at .*broken\.png but got: .*picture"):
        neighbours(embedded / "v.parquet", [embedded / "broken.png"], model=small_file)
    shutil.rmtree(embedded / "images")
    neighbours(embedded / "v.parquet", ["4.png"])  # a key needs no file


def test_neither_a_key_nor_a_file():
    with pytest.raises(ValueError, match=r"00003\.png \(did you mean 0003\.png\?\)"):
        neighbours(in_memory(ROWS), ["0001.png", "00003.png"])
    with pytest.raises(ValueError, match="at least one key"):
        neighbours(in_memory(ROWS), [])


@pytest.mark.parametrize(
    ("rows", "count", "highest"), [(20, 20, 19), (20, 0, 19), (1, 8, 0)]
)
def test_counts_out_of_range(rows, count, highest):
    with pytest.raises(
        ValueError, match=f"`count` to be from 1 to {highest}, .* but got {count}"
    ):
        neighbours(in_memory(ROWS[:rows]), ["0000.png"], count=count)
    if rows > 1:
        neighbours(in_memory(ROWS), ["0000.png"], count=19)


@pytest.fixture
def guide(tmp_path, small_file, monkeypatch):
    """A folder in which docs/vectors.md holds: images, vectors and encoders."""
    monkeypatch.chdir(tmp_path)
    folder = random_folder(tmp_path / "FOLDER_OF_IMAGES", 30, (16, 16, 3))
    shutil.move(folder / "0.png", folder / "cat.jpg")
    (tmp_path / "new").mkdir()
    shutil.copy(folder / "1.png", "new/photo.jpg")
    for name in ("encoder", "old", "new"):
        shutil.copy(small_file, f"{name}.onnx")
    session = EmbeddingSession("encoder.onnx", "cpu")
    for name in ("vectors", "old", "new", "calibration", "today"):
        embed_images(session, folder, f"{name}.parquet")


def test_the_commands_of_the_guide(guide):
    lines = "".join(blocks("docs/vectors.md", "console")).splitlines()
    commands = [line.split()[2:] for line in lines if line.startswith("$ rkdo")]
    assert len(commands) == 8
    for name in ("old", "new"):
        Path(f"{name}.parquet").unlink()  # the guide makes them
    for words in commands:
        assert main(words) == 0, words
    assert Path("moved.html").exists() and Path("sheet.png").exists()


def test_the_python_of_the_guide(guide, capsys):
    first, *programs = blocks("docs/vectors.md", "python")
    exec(compile(first, "docs/vectors.md", "exec"), {})
    assert Path("cats.html").exists()
    expected = ["cat.jpg", *neighbours("vectors.parquet", ["cat.jpg"], count=5).keys[0]]
    capsys.readouterr()
    searches = programs[:-1]
    assert len(searches) == 5  # pandas, polars, DuckDB, LanceDB, FAISS
    for program in searches:
        exec(compile(program, "docs/vectors.md", "exec"), {})
        printed = re.findall(r"\w+\.(?:jpg|png)", capsys.readouterr().out)
        assert printed[:6] == expected, program


def test_vectors_for_pgvector(guide):
    program = blocks("docs/vectors.md", "python")[-1]
    names: dict[str, Any] = {}
    exec(compile(program, "docs/vectors.md", "exec"), names)
    vectors = names["vectors"]
    assert len(names["rows"]) == len(vectors) == 30
    for row, (key, vector) in enumerate(names["rows"]):
        assert key == vectors.key(row)
        # PostgreSQL reads a text, or D and the numbers, the larger bytes first.
        text, sent = json.loads(vector.to_text()), vector.to_binary()
        assert int.from_bytes(sent[:2], "big") == vectors.dim
        for numbers in (np.float32(text), np.frombuffer(sent[4:], ">f4")):
            np.testing.assert_array_equal(numbers, vectors.rows[row])
