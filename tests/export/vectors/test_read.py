"""Vectors are read as they were written, and anything else is refused."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from vector_tables import ENCODER, names, random_rows, write_vectors

from rkdo_plugin.export import EmbeddingSession, embed_images, read_vectors

ROWS = random_rows(7, 3)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("key", ["path", "key", "row"])
def test_a_file(tmp_path, kind, key):
    rows = ROWS.astype(kind)
    path = write_vectors(tmp_path / "v.parquet", rows, key=key)
    found = read_vectors(path)
    assert found.rows.dtype == kind
    np.testing.assert_array_equal(found.rows, rows)
    assert found.keys.to_pylist() == names(7)
    assert len(found) == 7 and found.dim == 3 and found.name == str(path)
    assert found.metadata == ENCODER and found.encoder == "a" * 64


def test_parts_in_their_order(tmp_path):
    for number in (1, 0, 2):
        write_vectors(
            tmp_path / f"part-{number:05}.parquet",
            ROWS[2 * number : 2 * number + 2],
            names(6)[2 * number : 2 * number + 2],
        )
    pq.write_table(
        pa.table({"path": ["x"], "reason": ["y"]}), tmp_path / "failed.parquet"
    )
    found = read_vectors(tmp_path)
    np.testing.assert_array_equal(found.rows, ROWS[:6])
    assert found.keys.to_pylist() == names(6)


def test_what_embed_writes(tmp_path, small_file, images):
    (tmp_path / "images").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
    session = EmbeddingSession(small_file, "cpu")
    for output in ("v.parquet", "parts", "arrays"):
        form = "npy" if output == "arrays" else "parquet"
        embed_images(session, tmp_path / "images", tmp_path / output, form=form)
        found = read_vectors(tmp_path / output)
        assert found.encoder == session.metadata["rkdo.sha256"]
        assert found.channels == 3
        np.testing.assert_allclose(found.rows, session.embed(images), atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "keys", "reason"),
    [
        (np.zeros((2, 3), np.float32), {"path": ["a"]}, "1 rows of path"),
        (np.zeros(2, np.float32), {"path": ["a", "b"]}, r"\(N, D\) .* got \(2,\)"),
        (np.zeros((2, 3), np.float32), {"name": ["a", "b"]}, "2 rows of name"),
        (np.zeros((2, 3), np.float32), {"path": ["a", "a"]}, "repeats a"),
        (np.full((1, 3), np.nan, np.float32), {"path": ["a"]}, "of a is not"),
    ],
)
def test_arrays_that_do_not_fit_their_keys(tmp_path, rows, keys, reason):
    np.save(tmp_path / "vectors.npy", rows)
    pq.write_table(pa.table(keys), tmp_path / "paths.parquet")
    with pytest.raises(ValueError, match=reason):
        read_vectors(tmp_path)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_lists_without_a_size_as_other_programs_write_them(tmp_path, kind):
    rows = ROWS.astype(kind.to_pandas_dtype())
    column = pa.array(list(rows), pa.list_(kind))
    pq.write_table(pa.table({"path": names(7), "vector": column}), tmp_path / "v")
    found = read_vectors(tmp_path / "v")
    np.testing.assert_array_equal(found.rows, ROWS.astype(found.rows.dtype))
    assert found.encoder is None and found.channels == 3


def test_keys_are_found(tmp_path):
    found = read_vectors(write_vectors(tmp_path / "v.parquet", ROWS))
    assert found.find(["0003.png", "none", "0000.png"]).tolist() == [3, -1, 0]
    assert found.similar("003.png") == " (did you mean 0003.png?)"
    assert found.similar("a-name-that-is-much-longer.png") == ""


def refused(path, match, kind=ValueError):
    with pytest.raises(kind, match=match):
        read_vectors(path)


def test_nothing_there(tmp_path):
    refused(tmp_path / "v.parquet", r"at .*v\.parquet.* found none", FileNotFoundError)
    refused(tmp_path, r"found no part-00000\.parquet", FileNotFoundError)


def test_files_that_are_no_vectors(tmp_path):
    path = tmp_path / "v.parquet"
    path.write_text("no table")
    refused(path, "to be a table but got")
    pq.write_table(pa.table({"path": ["a"], "label": [1]}), path)
    refused(path, "columns path or key or row, and vector.* it has path, label")
    pq.write_table(pa.table({"vector": [[1.0]], "name": ["a"]}), path)
    refused(path, "it has vector, name")
    pq.write_table(pa.table({"path": ["a"], "vector": [[1, 2]]}), path)
    refused(path, "lists of floats but got list<.*int64>")
    pq.write_table(pa.table({"path": ["a"], "vector": [1.0]}), path)
    refused(path, "lists of floats but got double")


@pytest.mark.parametrize(
    "vectors",
    [
        [[1.0, 2.0], [1.0], [1.0, 2.0, 3.0]],  # as many numbers as three of two
        [[1.0, 2.0], None, [1.0, 2.0]],
        [[1.0, 2.0], [None, 1.0], [1.0, 2.0]],
    ],
)
@pytest.mark.parametrize("size", [-1, 2])
def test_vectors_of_several_lengths(tmp_path, vectors, size):
    if size == 2 and len(vectors[1] or [0, 0]) != 2:
        return  # Arrow refuses to make it
    column = pa.array(vectors, pa.list_(pa.float32(), size))
    try:
        pq.write_table(pa.table({"path": names(3), "vector": column}), tmp_path / "v")
    except pa.ArrowNotImplementedError:
        pytest.skip("this Arrow does not write it")
    # An Arrow before 26 refuses to read what it wrote of an absent list of fixed size.
    of_arrow = "to be a table but got: Expected all lists to be of size=2"
    ours = "Expected 2 numbers in each vector of .* fewer or more"
    refused(tmp_path / "v", f"{of_arrow}|{ours}")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_numbers_that_are_not_finite(tmp_path, bad, kind):
    rows = ROWS.astype(kind)
    rows[4, 1] = bad
    path = write_vectors(tmp_path / "v.parquet", rows)
    refused(path, r"finite numbers .* the vector of 0004\.png is not")


def test_keys_that_come_twice_or_not_at_all(tmp_path):
    keys = ["a", "b", "a", "c", "d", "c", "e"]
    path = write_vectors(tmp_path / "v.parquet", ROWS, keys)
    refused(path, "each key once but it repeats a, c")
    refused(write_vectors(path, ROWS[:2], ["a", None]), "vector .* but 1 have none")


def test_no_rows(tmp_path):
    path = write_vectors(tmp_path / "v.parquet", ROWS[:0])
    refused(path, "it has no rows")
    empty = pa.table(
        {
            "path": pa.array([], pa.string()),
            "vector": pa.array([], pa.list_(pa.float32())),
        }
    )
    pq.write_table(empty, path)
    refused(path, "it has no rows")


@pytest.mark.parametrize("change", ["dim", "encoder", "key"])
def test_parts_of_different_jobs(tmp_path, change):
    write_vectors(tmp_path / "part-00000.parquet", ROWS)
    write_vectors(
        tmp_path / "part-00001.parquet",
        ROWS[:, :2] if change == "dim" else ROWS,
        ["x" + name for name in names(7)],
        "key" if change == "key" else "path",
        {"rkdo.sha256": "b" * 64} if change == "encoder" else ENCODER,
    )
    refused(tmp_path, r"of part-00000\.parquet but part-00001\.parquet has others")


def test_a_changed_byte_of_a_vector_is_noticed(tmp_path):
    """Where the table has checksums, as those of `rkdo embed` have."""
    path = write_vectors(tmp_path / "v.parquet", ROWS)
    table = pq.read_table(path)
    how = {"use_dictionary": ["path"], "compression": "none"}
    pq.write_table(table, path, write_page_checksum=True, **how)
    content = bytearray(path.read_bytes())
    content[content.index(ROWS.astype(np.float32).tobytes()) + 2] ^= 1
    path.write_bytes(content)
    assert pq.read_table(path) != table  # finite numbers, and others
    refused(path, r"v\.parquet to be a table but got: .*CRC")


def test_a_damaged_page_is_no_error_of_arrows(tmp_path):
    path = write_vectors(tmp_path / "v.parquet", ROWS)
    content = bytearray(path.read_bytes())
    content[4:40] = bytes(36)
    path.write_bytes(content)
    refused(path, r"v\.parquet to be a table but got")


def test_keys_are_texts(tmp_path):
    path = write_vectors(tmp_path / "v.parquet", ROWS)
    pq.write_table(pq.read_table(path), path, compression="none")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0001.png", b"000\xff.png"))
    refused(path, r"keys in UTF-8 in .*v\.parquet")


@pytest.mark.parametrize("channels", ["three", "0", "-1", "9" * 5000])
def test_channels_are_a_number(tmp_path, channels):
    metadata = {"rkdo.channels": channels}
    found = read_vectors(write_vectors(tmp_path / "v.parquet", ROWS, metadata=metadata))
    with pytest.raises(ValueError, match=r"rkdo\.channels of .* at least 1 but got"):
        _ = found.channels


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (np.ones((3, 2), int), r"vectors of floats but got \(3, 2\) of int64"),
        (np.full((3, 2), "x"), "vectors of floats"),
        (np.ones((3, 0)), "numbers in the vectors of"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': (", "vectors.npy and paths.parquet in"),
    ],
)
def test_arrays_of_something_else(tmp_path, content, match):
    table = pa.table({"path": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "paths.parquet")
    path = tmp_path / "vectors.npy"
    if isinstance(content, bytes):
        path.write_bytes(content.ljust(128))
    else:
        np.save(path, content)
    refused(tmp_path, match)


@pytest.mark.parametrize("told", [-3, 0, 2, 4])
def test_a_table_of_fewer_or_more_rows_than_it_tells_of(tmp_path, monkeypatch, told):
    """Rows that nothing filled would be any numbers."""
    path = write_vectors(tmp_path / "v.parquet", ROWS[:3])
    metadata = SimpleNamespace(num_rows=told)
    monkeypatch.setattr(pq, "read_metadata", lambda _: metadata)
    refused(path, r"tells? of (-3|but got more|but got fewer)")
