"""Vectors of a file find their images by path."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.draw import files_of
from rkdo_plugin.recipes.field.features import features_by_name, fit_features
from rkdo_plugin.recipes.field.vectors import vectors_of

VECTORS = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Twenty images of two classes, whose grey levels are their numbers."""
    for number in range(20):
        path = tmp_path / "images" / f"class{number % 2}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number,) * 3).save(path)
    return tmp_path / "images"


def write(path, names, vectors):
    if path.suffix == ".npz":
        np.savez(path, paths=np.asarray(names), vectors=vectors)
        return
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 3)
    pq.write_table(pa.table({"path": names, "vector": column}), path)


def written(path, root, folder):
    """Vectors of all images in another order, with their paths below a root."""
    files = sorted(folder.rglob("*.png"), key=lambda file: file.name)[::-1]
    names = [file.relative_to(root).as_posix() for file in files]
    write(path, names, VECTORS[::-1])


KINDS = pytest.mark.parametrize("name", ["v.parquet", "v.npz"])


@KINDS
@pytest.mark.parametrize("limit", [None, 7])
def test_vectors_are_found_by_path_in_any_order(folder, tmp_path, limit, name):
    path = tmp_path / name
    written(path, folder, folder)
    data = load_data(str(folder), limit=limit)
    numbers = [image.getpixel((0, 0))[0] for image, _ in data.train]
    expected = VECTORS[numbers]
    np.testing.assert_array_equal(vectors_of(path, data), expected)
    features, describe = fit_features(str(path), data)
    np.testing.assert_allclose(features, expected - expected.mean(axis=0), atol=1e-6)
    assert describe is None


def test_the_training_folder_may_have_been_embedded_alone(folder, tmp_path):
    root = tmp_path / "split"
    for part in ("train", "test"):
        (root / part).parent.mkdir(exist_ok=True)
        (root / part).symlink_to(folder)
    written(tmp_path / "v.parquet", folder, folder)
    data = load_data(str(root))
    numbers = [image.getpixel((0, 0))[0] for image, _ in data.train]
    found = vectors_of(tmp_path / "v.parquet", data)
    np.testing.assert_array_equal(found, VECTORS[numbers])


@KINDS
def test_a_file_that_lacks_an_image_is_refused(folder, tmp_path, name):
    written(tmp_path / name, folder, folder)
    Image.new("RGB", (8, 8)).save(folder / "class0" / "0new.png")
    with pytest.raises(ValueError, match=r"lacks 1: class0/0new\.png"):
        vectors_of(tmp_path / name, load_data(str(folder)))


@KINDS
def test_two_vectors_of_one_image_are_refused(folder, tmp_path, name):
    names = [file.relative_to(folder).as_posix() for file in folder.rglob("*.png")]
    names = sorted(names)
    write(tmp_path / name, [*names[:10], *names[:10]], VECTORS)
    with pytest.raises(
        ValueError,
        match=r"to have each key once but it repeats class0/00\.png, .*10 in all",
    ):
        vectors_of(tmp_path / name, load_data(str(folder)))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"paths": np.array(["a"])}, "but got: .*vectors"),
        ({"vectors": VECTORS}, "but got: .*paths"),
        ({"paths": np.array(["a"]), "vectors": VECTORS}, r"\(1,\) and \(20, 3\)"),
        ({"paths": np.array(["a"] * 3), "vectors": VECTORS[0]}, r"\(3,\) and \(3,\)"),
        ({"paths": np.arange(20), "vectors": VECTORS}, "int64 and float32"),
        ({"paths": np.array(["a"]), "vectors": np.array([["b"]])}, "<U1 and <U1"),
        (
            {"paths": np.array(["a"], object), "vectors": VECTORS[:1]},
            "but got Python objects",
        ),
    ],
)
def test_a_npz_of_other_arrays_is_refused(arrays, message, folder, tmp_path):
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(ValueError, match=r"paths \(M,\) and vectors.*" + message):
        vectors_of(tmp_path / "v.npz", load_data(str(folder)))


def test_a_file_of_something_else_is_refused(folder, tmp_path):
    data = load_data(str(folder))
    pq.write_table(pa.table({"name": ["a"]}), tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    for name, message in (("other", "columns .*, and vector"), ("text", "be a table")):
        with pytest.raises(ValueError, match=message):
            vectors_of(tmp_path / f"{name}.parquet", data)
    (tmp_path / "text.npz").write_text("no arrays")
    with pytest.raises(ValueError, match=r"it is no \.npz file"):
        vectors_of(tmp_path / "text.npz", data)


@KINDS
def test_data_without_files_is_refused(tmp_path, name):
    write(tmp_path / name, ["a"], VECTORS[:1])
    with pytest.raises(ValueError, match=r"Expected a folder of images .* got digits"):
        vectors_of(tmp_path / name, load_data("digits"))


@KINDS
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused(folder, tmp_path, name, value):
    names = [f"class{n % 2}/{n:02}.png" for n in range(20)]
    broken = VECTORS.copy()
    broken[:, 0] = value
    write(tmp_path / name, names, broken)
    with pytest.raises(ValueError, match=r"finite .* vector of class0/00\.png is not"):
        features_by_name(str(tmp_path / name), load_data(str(folder)))


def test_images_in_memory_have_no_files():
    assert files_of(load_data("digits").train) is None


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_npz_is_refused(save, folder, tmp_path):
    """At each place of the file: zipfile has an error of its own for most of them."""
    names = [file.relative_to(folder).as_posix() for file in folder.rglob("*.png")]
    save(tmp_path / "v.npz", paths=np.array(sorted(names)), vectors=VECTORS)
    data, content = load_data(str(folder)), (tmp_path / "v.npz").read_bytes()
    whole = vectors_of(tmp_path / "v.npz", data)
    refused, places = 0, range(0, len(content), 11)
    for place in places:
        damaged = content[:place] + b"\xff" * 4 + content[place + 4 :]
        (tmp_path / "v.npz").write_bytes(damaged)
        try:  # there are bytes of the format that nobody reads
            np.testing.assert_array_equal(vectors_of(tmp_path / "v.npz", data), whole)
        except ValueError as error:
            assert "v.npz to have the arrays" in str(error)
            refused += 1
    assert refused > len(places) // 2
