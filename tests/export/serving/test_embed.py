"""Folders of images become Parquet files; what cannot be read is listed."""

import os
import struct
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image

from rkdo_plugin.export import embed_folder
from rkdo_plugin.export.encoder.images import resize


@pytest.fixture
def folder(tmp_path, images):
    """Nine images, in two levels of folders, beside files that are not images."""
    folder = tmp_path / "images"
    (folder / "b" / "deep").mkdir(parents=True)
    places = ["z.png", "b/y.PNG", "b/deep/x.bmp", *(f"b/{i}.png" for i in range(6))]
    for place, image in zip(places, images, strict=True):
        Image.fromarray(image).save(folder / place)
    (folder / "notes.txt").write_text("not an image")
    return folder


def read(path):
    table = pq.read_table(path)
    return table["path"].to_pylist(), np.stack(table["vector"].to_numpy())


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_paths_and_vectors(session, folder, tmp_path, batch_size):
    output = tmp_path / "embeddings.parquet"
    summary = embed_folder(session, folder, output, batch_size=batch_size)
    assert summary.images == 9 and summary.unreadable == ()
    paths, vectors = read(output)
    assert paths == sorted(paths) and len(paths) == 9 and "b/deep/x.bmp" in paths
    pixels = [np.asarray(Image.open(folder / path)) for path in paths]
    np.testing.assert_allclose(vectors, session.embed(np.stack(pixels)), atol=1e-6)
    assert vectors.dtype == np.float32
    schema = pq.read_schema(output)
    assert str(schema.field("vector").type).startswith("fixed_size_list<element: float")
    assert schema.field("vector").type.list_size == 96
    sha = session.metadata["rkdo.sha256"].encode()
    assert schema.metadata[b"rkdo.sha256"] == sha


def test_unreadable_images_are_listed_and_the_others_embedded(
    session, folder, tmp_path
):
    whole = (folder / "z.png").read_bytes()
    (folder / "a_cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "b" / "a_text.jpg").write_text("hello")
    (folder / "empty.gif").touch()
    np.save(folder / "deep.npy", np.full((20, 20, 3), 2.0))
    output = tmp_path / "embeddings.parquet"
    summary = embed_folder(session, folder, output, batch_size=2)
    left_out = [path for path, _ in summary.unreadable]
    assert left_out == ["a_cut.png", "b/a_text.jpg", "deep.npy", "empty.gif"]
    assert all(path in str(summary) for path in left_out)
    paths, _ = read(output)
    assert summary.images == len(paths) == 9 and set(left_out).isdisjoint(paths)


def test_pictures_are_found_by_their_content_and_other_files_named(
    session, folder, tmp_path
):
    (folder / "z.png").rename(folder / "z")
    (folder / "b" / "0.png").rename(folder / "b" / "0.txt")
    (folder / "labels.csv").write_text("path,label")
    summary = embed_folder(session, folder, tmp_path / "out.parquet")
    assert summary.images == 9 and summary.unreadable == ()
    assert {"z", "b/0.txt"} < set(read(summary.output)[0])
    assert summary.others == ("labels.csv", "notes.txt")
    assert "not images: labels.csv, notes.txt" in str(summary)


def test_strict_refuses_what_would_be_left_out(session, folder, tmp_path):
    output = tmp_path / "out.parquet"
    with pytest.raises(ValueError, match=r"only images in .* but got notes\.txt"):
        embed_folder(session, folder, output, strict=True)
    (folder / "notes.txt").unlink()
    (folder / "b" / "0.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"all of .* but not b/0\.png: OSError"):
        embed_folder(session, folder, output, strict=True)
    assert not output.exists()
    (folder / "b" / "0.png").unlink()
    assert embed_folder(session, folder, output, strict=True).images == 8


def test_a_phones_photograph_is_embedded_upright(session, tmp_path, images):
    folder = tmp_path / "phone"
    folder.mkdir()
    upright = Image.fromarray(images[0])
    upright.save(folder / "upright.png")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # "turn by 90 degrees to the right to show"
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "phone.png", exif=exif)
    embed_folder(session, folder, tmp_path / "out.parquet")
    _, vectors = read(tmp_path / "out.parquet")
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert "upright" in session.metadata["rkdo.resize"]


def test_linked_folders_are_followed_each_once(session, folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / "z.png").rename(outside / "far.png")
    for link, target in {
        "linked": outside,
        "linked_again": outside,
        "b/deep/loop": folder,
        "around": "around",
    }.items():
        (folder / link).symlink_to(target)
    output = tmp_path / "embeddings.parquet"
    summary = embed_folder(session, folder, output)
    inside = ["b/deep/x.bmp", "b/y.PNG", *(f"b/{i}.png" for i in range(6))]
    assert read(output)[0] == sorted([*inside, "linked/far.png"])
    assert summary.unreadable == ()


def test_a_dangling_link_to_an_image_is_listed(session, folder, tmp_path):
    (folder / "gone.png").symlink_to("nowhere.png")
    summary = embed_folder(session, folder, tmp_path / "out.parquet")
    ((path, reason),) = summary.unreadable
    assert path == "gone.png" and reason.startswith("FileNotFoundError")
    assert summary.images == 9


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_listed_rather_than_waited_for(session, folder, tmp_path):
    os.mkfifo(folder / "pipe.png")
    summary = embed_folder(session, folder, tmp_path / "out.parquet")
    assert summary.unreadable == (("pipe.png", "OSError: not a regular file"),)


def forbid(monkeypatch, place):
    """Let nobody list a folder: permissions do not bind an administrator."""
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path) == os.fspath(place):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_a_folder_that_cannot_be_listed_is_listed(
    session, folder, tmp_path, monkeypatch
):
    forbid(monkeypatch, folder / "b" / "deep")
    summary = embed_folder(session, folder, tmp_path / "out.parquet")
    ((path, reason),) = summary.unreadable
    assert path == "b/deep" and reason.startswith("PermissionError")
    assert summary.images == 8
    forbid(monkeypatch, folder)
    with pytest.raises(ValueError, match=r"none of 1 can .* is \.: PermissionError"):
        embed_folder(session, folder, tmp_path / "none.parquet")


@pytest.mark.skipif(sys.platform != "linux", reason="needs names of any bytes")
def test_a_name_that_is_not_utf_8_is_listed(session, folder, tmp_path):
    (folder / "z.png").rename(folder / os.fsdecode(b"caf\xe9.png"))
    output = tmp_path / "embeddings.parquet"
    summary = embed_folder(session, folder, output)
    assert [path for path, _ in summary.unreadable] == [r"caf\xe9.png"]
    assert rb"caf\xe9.png" in str(summary).encode()
    assert len(read(output)[0]) == summary.images == 8


def test_what_pil_does_not_support_is_listed(session, folder, tmp_path):
    pixel_format = struct.pack("<4I", 32, 0, 0, 0)  # of no kind
    header = struct.pack("<4I", 124, 0, 8, 8) + bytes(56) + pixel_format + bytes(36)
    (folder / "a.png").write_bytes(b"DDS " + header)
    summary = embed_folder(session, folder, tmp_path / "out.parquet")
    ((path, reason),) = summary.unreadable
    assert path == "a.png" and reason.startswith("NotImplementedError")
    assert summary.images == 9


def test_an_image_too_large_for_memory_is_listed(
    session, folder, tmp_path, monkeypatch
):
    Image.new("RGB", (50, 50)).save(folder / "large.png")

    def exhaust(image, *options):
        if image.width == 50:
            raise MemoryError
        return resize(image, *options)

    monkeypatch.setattr("rkdo_plugin.export.reading.worker.resize", exhaust)
    summary = embed_folder(session, folder, tmp_path / "out.parquet")
    assert summary.unreadable == (("large.png", "MemoryError: "),)
    assert summary.images == 9


def test_folders_without_images(session, tmp_path):
    output = tmp_path / "embeddings.parquet"
    with pytest.raises(NotADirectoryError, match=r"missing but found no folder"):
        embed_folder(session, tmp_path / "missing", output)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"Expected images .*empty but found none"):
        embed_folder(session, empty, output)
    (empty / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"got only notes\.txt"):
        embed_folder(session, empty, output)
    (empty / "fake.png").write_text("hello")
    with pytest.raises(ValueError, match=r"none of 1 can be read; .* fake\.png"):
        embed_folder(session, empty, output)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_an_older_file_is_kept_unless_asked(session, folder, tmp_path):
    output = tmp_path / "embeddings.parquet"
    output.write_text("precious")
    with pytest.raises(FileExistsError, match="pass `overwrite`"):
        embed_folder(session, folder, output)
    assert output.read_text() == "precious"
    embed_folder(session, folder, output, overwrite=True)
    assert len(read(output)[0]) == 9


def test_an_interruption_leaves_nothing(session, folder, tmp_path, monkeypatch):
    output = tmp_path / "embeddings.parquet"

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "embed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        embed_folder(session, folder, output)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_batch_size_below_one(session, folder, tmp_path):
    with pytest.raises(ValueError, match="`batch_size` to be at least 1 but got 0"):
        embed_folder(session, folder, tmp_path / "out.parquet", batch_size=0)
