"""Read only what was exported; write so that a model that loads is always there."""

import errno
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx
import pytest

from rkdo_plugin import publish as publishing
from rkdo_plugin.export import (
    EmbeddingSession,
    export_onnx,
    write_triton_repository,
)
from rkdo_plugin.export.file import model_file
from rkdo_plugin.publish import write_whole

NOBODY = 65534


def state(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def older(small_file, tmp_path):
    """A folder that holds an export already."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("small.onnx", "small.onnx.sha256"):
        shutil.copy(small_file.with_name(name), folder)
    return folder / "small.onnx"


def test_a_full_quota_leaves_what_was_there(older, make_small):
    before = state(older.parent)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    encoder = make_small(seed=1)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        with pytest.raises(OSError, match="too large"):
            export_onnx(encoder, older, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert state(older.parent) == before


def test_a_full_disk_leaves_what_was_there(older, make_small, tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs"]
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run([*mount, disk], check=False).returncode:
        pytest.skip("cannot mount a small disk here")
    try:
        for path in older.parent.iterdir():
            shutil.copy(path, disk)
        before = state(disk)
        with pytest.raises(OSError) as caught:
            export_onnx(make_small(seed=1), disk / older.name, overwrite=True)
        assert caught.value.errno == errno.ENOSPC
        assert str(disk / older.name) in str(caught.value)
        assert state(disk) == before
        EmbeddingSession(disk / older.name)
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("step", ["write", "fsync", "link"])
def test_a_process_killed_while_writing_leaves_what_was_there(older, step, tmp_path):
    before = state(older.parent)
    program = f"""
        import os, signal, sys
        from rkdo_plugin.export.file.model_file import ModelFile, write_model
        from pathlib import Path
        real = os.{step}
        def killed(*arguments, **options):
            if "{step}" == "write":
                real(arguments[0], arguments[1][:1000])
            os.kill(os.getpid(), signal.SIGKILL)
        os.{step} = killed
        model = ModelFile("small.onnx", b"new" * 1000, {{}})
        write_model(Path(sys.argv[1]), model, "", overwrite=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), older.parent]
    done = subprocess.run(command, check=False, cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    after = state(older.parent)
    assert after["small.onnx"] == before["small.onnx"]
    assert after.keys() == before.keys()
    EmbeddingSession(older)


def test_two_exports_that_replace_one_path_at_once_leave_one_of_them(
    older, make_small, tmp_path
):
    programs = []
    for seed in (1, 2, 3):
        program = f"""
            import sys, torch
            from rkdo_plugin import create_encoder
            from rkdo_plugin.export import Encoder, export_onnx
            torch.manual_seed({seed})
            backbone = create_encoder("small-convnet")
            encoder = Encoder(backbone, image_size=16, mean=[.5] * 3, std=[.5] * 3)
            for _ in range(2):
                export_onnx(encoder, sys.argv[1], overwrite=True)
        """
        command = [sys.executable, "-c", textwrap.dedent(program), older]
        programs.append(subprocess.Popen(command, cwd=tmp_path))
    assert [program.wait() for program in programs] == [0, 0, 0]
    EmbeddingSession(older)  # its manifest is its own
    names = sorted(path.name for path in older.parent.iterdir())
    assert names == ["small.onnx", "small.onnx.sha256"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_is_not_ours_to_write(older, make_small):
    before = state(older.parent)
    encoder = make_small(seed=1)
    places = [older.parent, *older.parent.parents]
    modes = {place: place.stat().st_mode for place in places}
    for place in places[:-2]:
        place.chmod(0o755)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(
            PermissionError, match=r"write to the output folder .* but got: Perm"
        ):
            export_onnx(encoder, older, overwrite=True)
    finally:
        os.seteuid(0)
        for place in places[:-2]:
            place.chmod(modes[place])
    assert state(older.parent) == before


def test_where_files_always_have_names_they_still_appear_whole(
    tmp_path, monkeypatch, make_small
):
    monkeypatch.delattr(os, "O_TMPFILE")
    path = tmp_path / "a.onnx"
    export_onnx(make_small(), path)
    with pytest.raises(FileExistsError):
        write_whole(path, b"", overwrite=False)
    export_onnx(make_small(seed=1), path, overwrite=True)
    EmbeddingSession(path)
    names = sorted(entry.name for entry in Path(tmp_path).iterdir())
    assert names == ["a.onnx", "a.onnx.sha256"]


def test_a_file_system_without_links(small_file, make_small, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(publishing, "_nameless", lambda _: None)
    export_onnx(make_small(), tmp_path / "small.onnx")
    before = state(tmp_path)
    assert before["small.onnx"] == small_file.read_bytes()
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "small.onnx", b"", overwrite=False)
    assert state(tmp_path) == before
    export_onnx(make_small(seed=1), tmp_path / "2.onnx")
    for number, name in ((1, "small.onnx"), (2, "2.onnx")):
        version = write_triton_repository(tmp_path / name, tmp_path / "models")
        assert version.folder == tmp_path / "models" / "encoder" / str(number)


def test_a_disk_that_stays_full_keeps_no_weights_of_a_model_that_failed(
    make_small, tmp_path, monkeypatch, weights_beside
):
    path = tmp_path / "large.onnx"
    export_onnx(make_small(), path)
    before = state(tmp_path)

    def full(place, content, *, overwrite):
        if place.suffix == ".sha256":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_whole(place, content, overwrite=overwrite)

    monkeypatch.setattr("rkdo_plugin.export.file.model_file.write_whole", full)
    with pytest.raises(OSError, match="No space"):
        export_onnx(make_small(seed=1), path, overwrite=True)
    assert state(tmp_path) == before


@pytest.mark.parametrize("failing", [1, 2])
def test_a_disk_that_fills_up_between_the_files_leaves_a_model_that_loads(
    make_small, tmp_path, monkeypatch, weights_beside, failing
):
    path = tmp_path / "large.onnx"
    export_onnx(make_small(), path)
    before, count = state(tmp_path), 0

    def full(place, content, *, overwrite):
        nonlocal count
        if place.suffix == ".sha256":
            count += 1
            if count == failing:
                raise OSError(errno.ENOSPC, "No space left on device")
        write_whole(place, content, overwrite=overwrite)

    monkeypatch.setattr("rkdo_plugin.export.file.model_file.write_whole", full)
    if failing == 1:
        with pytest.raises(OSError, match="No space"):
            export_onnx(make_small(seed=1), path, overwrite=True)
        assert state(tmp_path) == before
    else:
        export_onnx(make_small(seed=1), path, overwrite=True)
        assert path.read_bytes() != before["large.onnx"]
    EmbeddingSession(path)


def test_a_file_that_never_stays_the_same_is_given_up(copied, monkeypatch):
    contents = (bytes([number]) for number in range(100))
    monkeypatch.setattr(type(copied), "read_bytes", lambda _: next(contents))
    with pytest.raises(ValueError, match=r"ONNX file at .*small\.onnx but"):
        EmbeddingSession(copied)
    assert next(contents)[0] < 10


@pytest.mark.parametrize("large", [False, True])
def test_a_file_that_is_replaced_while_it_is_read(
    large, make_small, images, tmp_path, monkeypatch, request
):
    """Between the model and what lies beside it: its weights, or its manifest."""
    path = tmp_path / "encoder.onnx"
    if large:
        request.getfixturevalue("weights_beside")
    export_onnx(make_small(), path)
    older, step = path.read_bytes(), "_read_weights" if large else "broken_manifest"
    real = getattr(model_file, step)

    def replaced(*arguments):
        monkeypatch.setattr(model_file, step, real)
        export_onnx(make_small(seed=1), path, overwrite=True)
        return real(*arguments)

    monkeypatch.setattr(model_file, step, replaced)
    session = EmbeddingSession(path)
    assert path.read_bytes() != older
    expected = EmbeddingSession(path).embed(images)
    np.testing.assert_array_equal(session.embed(images), expected)


def test_loading_runs_no_pickle(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    (tmp_path / "model.onnx").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r"Expected an ONNX file|metadata lacks"):
        EmbeddingSession(tmp_path / "model.onnx")
    assert not (tmp_path / "ran").exists()


def test_an_onnx_file_from_elsewhere(small_file, tmp_path):
    model = onnx.load(small_file)
    model.ClearField("metadata_props")
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"export_onnx.*rkdo\.image_size"):
        EmbeddingSession(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_a_file_that_is_no_model(tmp_path, content):
    (tmp_path / "broken.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.onnx"):
        EmbeddingSession(tmp_path / "broken.onnx")


def test_a_truncated_file(small_file, tmp_path):
    path = tmp_path / "short.onnx"
    shutil.copy(small_file, path)
    for share in (0.01, 0.5, 0.99):
        path.write_bytes(small_file.read_bytes()[: int(share * 130_000)])
        with pytest.raises(ValueError, match=r"short\.onnx"):
            EmbeddingSession(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx but found no such file"):
        EmbeddingSession(tmp_path / "none.onnx")
