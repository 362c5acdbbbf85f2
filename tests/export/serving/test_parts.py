"""A folder of parts: restarts, refusals, and the same rows as one file."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkout import blocks
from loky.process_executor import TerminatedWorkerError
from PIL import Image
from sklearn.datasets import load_sample_images

from rkdo_plugin.cli.main import main
from rkdo_plugin.export import Item, embed_images, open_source, read_vectors
from rkdo_plugin.export.reading import decoding
from rkdo_plugin.export.serving import parts as writing


@pytest.fixture
def folder(numbered_images):
    """23 images, of which two cannot be read."""
    return numbered_images(23)


@pytest.fixture
def whole(session, folder, tmp_path):
    """The table of an uninterrupted run, as one file."""
    return embed_images(session, folder, tmp_path / "whole.parquet").output


@pytest.fixture
def photographs_folder(tmp_path):
    """scikit-learn's two photographs as large JPEGs."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number, pixels in enumerate(load_sample_images().images):
        Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=90)
    return folder


def numbered(count, path):
    return (Item(str(number), path) for number in range(count))


def rows(path):
    """Keys and vectors, of a file or of all parts."""
    files = [path] if path.is_file() else sorted(path.glob("part-*.parquet"))
    table = pa.concat_tables([pq.read_table(file) for file in files])
    return table["path"].to_pylist(), np.stack(table["vector"].to_numpy())


def same(path, other):
    (keys, vectors), (others, expected) = rows(path), rows(other)
    assert keys == others
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [3, 8])
def test_parts_hold_the_rows_of_one_file(
    session, folder, whole, tmp_path, workers, batch_size
):
    output = tmp_path / "parts"
    done = embed_images(
        session, folder, output, workers=workers, batch_size=batch_size, part_images=10
    )
    same(output, whole)
    assert [len(pq.read_table(file)) for file in sorted(output.glob("part-*"))] == [
        9,
        9,
        3,
    ]
    failed = pq.read_table(output / "failed.parquet").to_pydict()
    assert failed["path"] == ["05.png", "17.png"]
    assert failed["reason"][1] == "OSError: not a picture"
    assert done.images == 21 and done.resumed == 0 and len(done.unreadable) == 2
    assert failed == pq.read_table(tmp_path / "whole.failed.parquet").to_pydict()
    schema = pq.read_schema(output / "part-00000.parquet")
    assert schema.metadata[b"rkdo.sha256"].decode() == session.metadata["rkdo.sha256"]


def test_the_same_call_again_goes_on(session, folder, whole, tmp_path, monkeypatch):
    output, embed, calls = tmp_path / "parts", session.embed, []

    def stop_at_the_fourth(images):
        calls.append(len(images))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return embed(images)

    monkeypatch.setattr(session, "embed", stop_at_the_fourth)
    job = {"batch_size": 4, "part_images": 10}
    with pytest.raises(KeyboardInterrupt):
        embed_images(session, folder, output, **job)
    assert [file.name for file in output.iterdir()] == ["part-00000.parquet"]
    first = (output / "part-00000.parquet").read_bytes()
    done = embed_images(session, folder, output, **job)
    same(output, whole)
    assert (output / "part-00000.parquet").read_bytes() == first
    assert done.images == 21 and done.resumed == 9 and "embedded before: 9" in str(done)
    assert [key for key, _ in done.unreadable] == ["05.png", "17.png"]
    calls.clear()
    again = embed_images(session, folder, output, **job)
    assert calls == [] and again.images == again.resumed == 21
    assert again.unreadable == done.unreadable


@pytest.mark.skipif(sys.platform != "linux", reason="files without a name")
@pytest.mark.parametrize("workers", [0, 1])
def test_kills_leave_whole_parts_alone(folder, whole, small_file, tmp_path, workers):
    output = tmp_path / "parts"
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, signal, sys\n"
        "from rkdo_plugin.export import EmbeddingSession, embed_images\n"
        "session = EmbeddingSession(sys.argv[1], 'cpu')\n"
        "embed, left = session.embed, [int(sys.argv[4])]\n"
        "def embed_or_die(images):\n"
        "    left[0] -= 1\n"
        "    if not left[0]:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return embed(images)\n"
        "session.embed = embed_or_die\n"
        "embed_images(session, sys.argv[2], sys.argv[3], batch_size=3, part_images=6,\n"
        "             workers=int(sys.argv[5]))\n"
    )
    command = [sys.executable, script, small_file, folder, output]
    for calls, parts in ((1, 0), (4, 1), (3, 2), (100, 4)):
        words = [*map(str, command), str(calls), str(workers)]
        ended = subprocess.run(words, capture_output=True, check=False)
        assert ended.returncode == (0 if calls == 100 else -signal.SIGKILL)
        names = sorted(file.name for file in output.iterdir())
        failed = ["failed.parquet"] if calls == 100 else []
        assert names == [*failed, *(f"part-{n:05}.parquet" for n in range(parts))]
    same(output, whole)


def test_a_full_disk_leaves_whole_parts_alone(
    session, folder, whole, tmp_path, monkeypatch
):
    output, write = tmp_path / "parts", os.write

    def full(file, content):
        if (output / "part-00000.parquet").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match=r"No space left .*part-00001\.parquet"):
        embed_images(session, folder, output, part_images=10)
    assert [file.name for file in output.iterdir()] == ["part-00000.parquet"]
    monkeypatch.undo()
    embed_images(session, folder, output, part_images=10)
    same(output, whole)


def test_rows_are_written_as_they_come(session, folder, whole, tmp_path, monkeypatch):
    """A part larger than a row group never is in memory as a whole."""
    monkeypatch.setattr(decoding, "CHUNK_IMAGES", 3)
    monkeypatch.setattr(writing, "GROUP_BYTES", 4 * 3 * session.dim)  # three vectors
    for name in ("parts", "file.parquet"):
        output = tmp_path / name
        embed_images(session, folder, output, batch_size=3, part_images=10)
        same(output, whole)
    files = sorted((tmp_path / "parts").glob("part-*"))
    groups = [pq.read_metadata(file).num_row_groups for file in files]
    assert groups == [3, 3, 1]


def test_vectors_have_no_dictionary(session, folder, tmp_path):
    """Of numbers that all differ it takes memory and space, and saves nothing."""
    done = embed_images(session, folder, tmp_path / "parts")
    group = pq.read_metadata(done.output / "part-00000.parquet").row_group(0)
    columns = [group.column(number) for number in range(2)]
    assert [column.has_dictionary_page for column in columns] == [True, False]
    assert columns[1].path_in_schema.startswith("vector.")


def test_parts_of_another_job_are_refused_and_kept(
    session, folder, tmp_path, small_file
):
    output = tmp_path / "parts"
    embed_images(session, folder, output, part_images=10)
    before = {file: file.read_bytes() for file in output.iterdir()}
    for options, message in (
        ({"part_images": 11}, "another source or option"),
        ({"part_images": 10, "dtype": "float16"}, "another source or option"),
    ):
        with pytest.raises(ValueError, match=message):
            embed_images(session, folder, output, **options)
    session.metadata = session.metadata | {"rkdo.sha256": "0" * 64}
    with pytest.raises(ValueError, match="another model"):
        embed_images(session, folder, output, part_images=10)
    assert {file: file.read_bytes() for file in output.iterdir()} == before
    done = embed_images(session, folder, output, part_images=11, restart=True)
    assert done.resumed == 0 and len(list(output.glob("part-*"))) == 3


@pytest.mark.parametrize(
    ("changed", "failed"),
    [
        (b"{}", None),
        (b"[", None),
        (b"\xff", None),
        (None, [["05.png", 3]]),
        (None, 7),
        (None, [["05.png", "\ud800"], ["17.png", ""]]),
        (None, []),  # two rows fewer than images, and no reason
    ],
)
def test_a_part_that_does_not_say_what_it_holds(
    session, folder, tmp_path, changed, failed
):
    output = tmp_path / "parts"
    embed_images(session, folder, output, part_images=10)
    path = output / "part-00000.parquet"
    table = pq.read_table(path)
    about = dict(pq.read_metadata(path).metadata)
    if changed is None:
        content = json.loads(about[writing.CONTENT]) | {"failed": failed}
        changed = json.dumps(content).encode()
    about = {k: v for k, v in about.items() if k[:4] == b"rkdo"}
    about[writing.CONTENT] = changed
    pq.write_table(table.replace_schema_metadata(about), path)
    with pytest.raises(
        ValueError, match=r"part-00000\.parquet to say .* it is damaged"
    ):
        embed_images(session, folder, output, part_images=10)


def test_a_part_that_is_no_table(session, folder, tmp_path):
    output = tmp_path / "parts"
    embed_images(session, folder, output, part_images=10)
    path = output / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-8] + b"\xff" * 8)
    with pytest.raises(ValueError, match=r"part-00000\.parquet to be a table"):
        embed_images(session, folder, output, part_images=10)


def test_a_changed_byte_of_a_part_is_noticed(session, folder, tmp_path):
    output = tmp_path / "parts"
    embed_images(session, folder, output, part_images=30)
    path = output / "part-00000.parquet"
    content = bytearray(path.read_bytes())
    places = pq.read_metadata(path).row_group(0).column(1)
    content[places.data_page_offset + places.total_compressed_size - 9] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"to be a table but got: .*CRC"):
        read_vectors(output)


def test_a_source_that_has_changed_is_refused(session, folder, tmp_path):
    output = tmp_path / "parts"
    embed_images(session, folder, output, part_images=5)
    (folder / "22.png").rename(folder / "23.png")
    with pytest.raises(ValueError, match=r"part-00004.*have changed since"):
        embed_images(session, folder, output, part_images=5)
    for number in (20, 21, 23):
        (folder / f"{number}.png").unlink()
    with pytest.raises(ValueError, match=r"4 parts of .* holds more"):
        embed_images(session, folder, output, part_images=5)


def test_a_folder_of_something_else_is_left_alone(session, folder, tmp_path):
    output = tmp_path / "thesis"
    output.mkdir()
    (output / "thesis.tex").write_text("precious")
    for restart in (False, True):
        with pytest.raises(FileExistsError, match=r"it has thesis\.tex"):
            embed_images(session, folder, output, restart=restart)
    assert [file.name for file in output.iterdir()] == ["thesis.tex"]


def test_strict_keeps_the_parts_and_reports(session, folder, tmp_path):
    output = tmp_path / "parts"
    with pytest.raises(
        ValueError, match=r"all of .*images but left out 2; see .*parts"
    ):
        embed_images(session, folder, output, strict=True)
    assert len(rows(output)[0]) == 21
    assert len(pq.read_table(output / "failed.parquet")) == 2


def test_half_precision(session, folder, whole, tmp_path):
    done = embed_images(session, folder, tmp_path / "half.parquet", dtype="float16")
    _, vectors = rows(done.output)
    assert vectors.dtype == np.float16
    np.testing.assert_allclose(vectors, rows(whole)[1], atol=1e-3)


def test_a_draft_is_another_job_with_nearly_the_same_vectors(
    session, tmp_path, photographs_folder
):
    full, fast = tmp_path / "full", tmp_path / "fast"
    embed_images(session, photographs_folder, full)
    embed_images(session, photographs_folder, fast, draft=True, workers=1)
    (keys, vectors), (others, found) = rows(full), rows(fast)
    assert keys == others
    cosines = (vectors * found).sum(axis=1)
    cosines /= np.linalg.norm(vectors, axis=1) * np.linalg.norm(found, axis=1)
    assert not np.array_equal(vectors, found) and cosines.min() > 1 - 1e-3
    with pytest.raises(ValueError, match="of another source or option"):
        embed_images(session, photographs_folder, full, draft=True)


def test_columns_are_carried_along(session, folder, tmp_path):
    table = pa.table({"image": ["03.png", "05.png", "01.png"], "label": [3, 5, 1]})
    pq.write_table(table, folder / "some.parquet")
    source = open_source(folder / "some.parquet", keep=["label"])
    done = embed_images(session, source, tmp_path / "out.parquet")
    written = pq.read_table(done.output)
    assert written.column_names == ["path", "vector", "label"]
    assert written["label"].to_pylist() == [3, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="needs names of any bytes")
def test_a_reason_that_is_not_utf_8(session, folder, tmp_path):
    strange = tmp_path / os.fsdecode(b"caf\xe9")
    strange.mkdir()
    shutil.copy(folder / "01.png", strange)
    (strange / "gone.png").symlink_to("nowhere.png")
    done = embed_images(session, strange, tmp_path / "parts")
    ((key, reason),) = done.unreadable
    assert key == "gone.png" and r"caf\udce9/gone.png" in reason
    assert pq.read_table(tmp_path / "parts" / "failed.parquet")["reason"][0].as_py()


def test_hidden_files_are_neither_parts_nor_in_the_way(session, folder, tmp_path):
    output = tmp_path / "parts"
    output.mkdir()
    (output / ".notes").write_text("precious")
    embed_images(session, folder, output)
    embed_images(session, folder, output, part_images=10, restart=True)
    assert (output / ".notes").read_text() == "precious"


def test_a_key_that_comes_twice_is_refused(session, folder, tmp_path):
    (folder / "twice.txt").write_text("03.png\n01.png\n03.png\n")
    with pytest.raises(ValueError, match=r"key of its own but 03\.png comes twice"):
        embed_images(session, folder / "twice.txt", tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_source_without_a_readable_image(session, tmp_path):
    (tmp_path / "list.txt").write_text("gone.png\n")
    with pytest.raises(ValueError, match=r"none of 1 .* is gone\.png: FileNotFound"):
        embed_images(session, tmp_path / "list.txt", tmp_path / "parts")
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(ValueError, match="found none"):
        embed_images(session, tmp_path / "list.txt", tmp_path / "none")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"workers": -1}, "`workers` to be at least 0 but got -1"),
        ({"part_images": 0}, "`part_images` to be at least 1 but got 0"),
        ({"dtype": "int8"}, "`dtype` to be float32 or float16 but got 'int8'"),
    ],
)
def test_options_out_of_range(session, folder, tmp_path, option, message):
    with pytest.raises(ValueError, match=message):
        embed_images(session, folder, tmp_path / "parts", **option)
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("noticed", [False, True])
def test_a_worker_that_dies_is_an_error_and_the_parts_stay(
    session, folder, tmp_path, noticed
):
    output = tmp_path / "parts"
    embed_images(session, folder, output, part_images=10)
    (output / "part-00002.parquet").unlink()
    with decoding.Decoder(session.image_size, 3, 1, 8) as decoder:
        chunks = decoder.map(numbered(10_000, folder / "00.png"), session.embed)
        next(chunks)
        for process in decoder._pool._processes.values():
            os.kill(process.pid, signal.SIGKILL)
        if noticed:  # before the next chunk is sent to it
            with pytest.raises(TerminatedWorkerError):
                decoder._pool.submit(os.getpid).result()
        with pytest.raises(
            RuntimeError, match="was killed, perhaps for want of memory"
        ):
            list(chunks)
    done = embed_images(session, folder, output, part_images=10, workers=1)
    assert done.resumed == 18 and done.images == 21


def test_workers_import_no_torch_and_do_not_run_the_script(
    folder, small_file, tmp_path
):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from rkdo_plugin.export import EmbeddingSession, embed_images\n"
        "from rkdo_plugin.export.reading import decoding\n"
        "print('ran')\n"
        "session = EmbeddingSession(sys.argv[1], 'cpu')\n"
        "embed_images(session, sys.argv[2], sys.argv[3], workers=2)\n"
        "with decoding.Decoder(8, 3, 1, 8) as decoder:\n"
        "    names = decoder._pool.submit(eval, 'list(__import__(\"sys\").modules)')\n"
        "    print('torch' in names.result(), 'torch' in sys.modules)\n"
    )
    command = [sys.executable, script, small_file, folder, tmp_path / "parts"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == "ran\nFalse False\n"


def test_the_python_of_the_guide(small_file, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    block = "".join(blocks("docs/embedding.md", "python"))
    shutil.copy(small_file, "encoder.onnx")
    table = {"image": [f"images/{n:02}.png" for n in range(23)], "label": range(23)}
    pq.write_table(pa.table(table), "photographs.parquet")
    shutil.copy(folder / "01.png", "photo.jpg")
    exec(compile(block, "docs/embedding.md", "exec"), {})
    assert "label" in pq.read_schema("vectors/part-00000.parquet").names


def test_the_command(small_file, folder, tmp_path, capsys):
    output = tmp_path / "parts"
    words = ["embed", str(small_file), str(folder), str(output), "--part-images", "10"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "21 images in" in printed and "unreadable: 17.png: OSError" in printed
    assert main(words) == 0
    assert "embedded before: 21" in capsys.readouterr().out
    assert main([*words[:-1], "11"]) == 1
    assert "another source or option" in capsys.readouterr().err
    assert main([*words[:-1], "11", "--restart"]) == 0
    assert main([*words[:-1], "11", "--strict"]) == 1
    table = io.BytesIO()
    pq.write_table(pa.table({"image": ["01.png"], "label": [4]}), table)
    (folder / "some.parquet").write_bytes(table.getvalue())
    one = str(tmp_path / "one.parquet")
    words = ["embed", str(small_file), str(folder / "some.parquet"), one]
    assert main([*words, "--keep", "label"]) == 0
    assert pq.read_table(one)["label"].to_pylist() == [4]
    part = pq.read_schema(output / "part-00000.parquet").metadata
    assert json.loads(part[b"rkdo.job"])["part_images"] == 11
