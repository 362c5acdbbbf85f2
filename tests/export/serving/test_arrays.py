"""vectors.npy and paths.parquet hold what the parts would."""

import errno
import sys
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rkdo_plugin.alone import alone
from rkdo_plugin.cli.main import main
from rkdo_plugin.export import embed_images, open_source
from rkdo_plugin.export.serving import arrays


@pytest.fixture
def folder(tmp_path, images):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(11):
        image = np.roll(images[number % len(images)], number, axis=1)
        Image.fromarray(image).save(folder / f"{number:02}.png")
    (folder / "05.png").write_text("no picture")
    return folder


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_array_holds_the_vectors_of_the_table(session, folder, tmp_path, dtype):
    table = tmp_path / "vectors.parquet"
    embed_images(session, folder, table, dtype=dtype)
    output = tmp_path / "arrays"
    done = embed_images(session, folder, output, dtype=dtype, form="npy", part_images=4)
    assert done.images == 10 and len(done.unreadable) == 1
    vectors = np.load(output / "vectors.npy", mmap_mode="r")
    rows = pq.read_table(table)
    assert vectors.dtype == dtype
    expected = np.stack(rows["vector"].to_numpy())
    np.testing.assert_allclose(
        vectors, expected, atol=1e-3 if dtype[-2:] == "16" else 1e-6
    )
    keys = pq.read_table(output / "paths.parquet")
    assert keys["path"].to_pylist() == rows["path"].to_pylist()
    assert keys.schema.metadata[b"rkdo.sha256"] == rows.schema.metadata[b"rkdo.sha256"]
    names = sorted(path.name for path in output.iterdir())
    assert names == ["failed.parquet", "paths.parquet", "vectors.npy"]


def test_columns_are_carried_along(session, folder, tmp_path):
    listed = {"path": [f"images/{n:02}.png" for n in (3, 1)], "label": [7, 8]}
    pq.write_table(pa.table(listed), tmp_path / "list.parquet")
    source = open_source(tmp_path / "list.parquet", keep=["label"])
    embed_images(session, source, tmp_path / "arrays", form="npy")
    found = pq.read_table(tmp_path / "arrays/paths.parquet")
    assert found.to_pydict() == listed


def test_a_full_disk_keeps_the_parts_and_the_same_call_again_goes_on(
    session, folder, tmp_path, monkeypatch
):
    output = tmp_path / "arrays"
    with monkeypatch.context() as patched:

        def full(*args):
            raise OSError(errno.ENOSPC, "No space left on device")

        patched.setattr(np.lib.format, "write_array_header_1_0", full)
        with pytest.raises(OSError, match="No space left"):
            embed_images(session, folder, output, form="npy", part_images=4)
    assert [path.name for path in output.iterdir()] == ["parts"]
    done = embed_images(session, folder, output, form="npy", part_images=4)
    assert done.resumed == done.images == 10
    assert np.load(output / "vectors.npy").shape == (10, session.dim)


@pytest.mark.parametrize("restart", [False, True])
def test_an_end_between_the_two_files_leaves_keys_without_vectors(
    session, folder, tmp_path, monkeypatch, restart
):
    output, growing = tmp_path / "arrays", arrays.growing
    if restart:
        embed_images(session, folder, output, form="npy")
        (folder / "10.png").unlink()

    @contextmanager
    def ends_before_the_vectors(path, **options):
        with growing(path, **options) as file:
            yield file
            if path.name == "vectors.npy":
                raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(arrays, "growing", ends_before_the_vectors)
        embed_images(session, folder, output, form="npy", restart=restart)
    names = sorted(path.name for path in output.iterdir())
    assert names == ["failed.parquet", "parts", "paths.parquet"]
    done = embed_images(session, folder, output, form="npy")
    vectors = np.load(output / "vectors.npy")
    assert (
        done.resumed
        == len(vectors)
        == pq.read_metadata(output / "paths.parquet").num_rows
    )
    assert not (output / "parts").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such locks")
def test_of_two_jobs_at_once_in_a_folder_the_second_is_refused(
    session, folder, tmp_path
):
    for form, place in (("npy", "arrays"), ("npy", "arrays/parts"), ("parquet", "p")):
        (tmp_path / place).mkdir(exist_ok=True)
        for restart in (False, True):
            with (
                alone(tmp_path / place),
                pytest.raises(BlockingIOError, match="no other process to write into"),
            ):
                embed_images(
                    session,
                    folder,
                    tmp_path / place.split("/")[0],
                    form=form,
                    restart=restart,
                )


def test_what_killed_jobs_left_is_removed(session, folder, tmp_path):
    """Where no file can be without a name, such as over NFS."""
    for form, names in (
        ("npy", ("vectors.npy", "paths.parquet")),
        ("parquet", ("part-00000.parquet", "failed.parquet")),
    ):
        output = tmp_path / form
        output.mkdir()
        for name in (*names, "notes"):
            (output / f".{name}.{'0' * 32}.tmp").touch()
        embed_images(session, folder, output, form=form)
        hidden = [path.name for path in output.iterdir() if path.name[0] == "."]
        assert hidden == [f".notes.{'0' * 32}.tmp"]


def test_finished_arrays_and_other_folders_are_left_alone(session, folder, tmp_path):
    output = tmp_path / "arrays"
    embed_images(session, folder, output, form="npy")
    before = (output / "vectors.npy").read_bytes()
    with pytest.raises(FileExistsError, match=r"vectors\.npy but there is one"):
        embed_images(session, folder, output, form="npy")
    assert (output / "vectors.npy").read_bytes() == before
    (folder / "10.png").unlink()
    embed_images(session, folder, output, form="npy", restart=True)
    assert len(np.load(output / "vectors.npy")) == 9
    (output / "notes.md").write_text("mine")
    with pytest.raises(FileExistsError, match=r"it has notes\.md"):
        embed_images(session, folder, output, form="npy", restart=True)
    assert (output / "vectors.npy").exists()


def test_the_command(small_file, folder, tmp_path, capsys):
    words = ["embed", str(small_file), str(folder), str(tmp_path / "out")]
    assert main([*words, "--format", "npy"]) == 0
    assert "10 images in" in capsys.readouterr().out
    assert len(np.load(tmp_path / "out/vectors.npy")) == 10
    assert main([*words[:-1], str(tmp_path / "x.parquet"), "--format", "npy"]) == 1
    assert "Expected a folder for the form npy" in capsys.readouterr().err
