"""Versions are added whole, and never overwritten."""

import os
import shutil
import tempfile
import threading
from pathlib import Path

import onnx
import pytest

from rkdo_plugin.export import export_onnx, write_triton_repository


def tree(folder):
    """Every path below a folder, with its content and time of change."""
    return {
        path.relative_to(folder).as_posix(): (
            path.is_file() and path.read_bytes(),
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
    }


def test_the_layout_is_tritons_and_the_file_the_exported_one(
    write, small_file, tmp_path
):
    folder = write().folder
    assert folder == tmp_path / "models" / "encoder" / "1"
    assert (folder / "model.onnx").read_bytes() == small_file.read_bytes()
    assert tree(tmp_path / "models").keys() == {
        "encoder",
        "encoder/1",
        "encoder/1/model.onnx",
        "encoder/config.pbtxt",
    }


def test_a_second_version_leaves_all_there_is_untouched(write, make_small, tmp_path):
    first = write()
    config = tmp_path / "models" / "encoder" / "config.pbtxt"
    edited = config.read_text().replace("count: 1", "count: 7 # Jo asked for it")
    config.write_text(edited + "response_cache { enable: true }\n")
    before = tree(tmp_path / "models")
    export_onnx(make_small(seed=1), tmp_path / "second.onnx")
    second = write(tmp_path / "second.onnx", instances=2)
    after = tree(tmp_path / "models")
    assert first.new_model and not second.new_model
    assert "kept as it was" in str(second) and str(second.folder) in str(second)
    assert second.folder == first.folder.parent / "2"
    assert after.keys() - before.keys() == {"encoder/2", "encoder/2/model.onnx"}
    unchanged = before.keys() - {"encoder"}
    assert all(after[path] == before[path] for path in unchanged)


def test_gaps_and_other_folders_do_not_matter(write, tmp_path):
    folder = tmp_path / "models" / "encoder"
    for name in ("1", "7", "-9", "latest", "8.bak", "²"):
        (folder / name).mkdir(parents=True)
    assert write().folder == folder / "8"


def test_a_file_that_is_the_newest_version_is_not_added_again(
    write, make_small, tmp_path
):
    first = write()
    before = tree(tmp_path / "models")
    again = write(instances=2)
    after = tree(tmp_path / "models")
    assert after.keys() == before.keys()
    assert all(after[path] == before[path] for path in before.keys() - {"encoder"})
    assert (again.folder, again.added) == (first.folder, False)
    assert str(again) == f"already there: {first.folder} is the same file; " + (
        "nothing was added"
    )
    # To go back to an older file is a new version, as the newest one is served.
    export_onnx(make_small(seed=1), tmp_path / "second.onnx")
    assert write(tmp_path / "second.onnx").folder.name == "2"
    assert write().folder.name == "3"


def test_an_encoder_of_another_image_size_is_refused(write, make_small, tmp_path):
    write()
    before = tree(tmp_path / "models" / "encoder")
    export_onnx(make_small(image_size=20), tmp_path / "larger.onnx")
    with pytest.raises(ValueError, match=r"\[16, 16, 3\], as .* got .*\[20, 20, 3\]"):
        write(tmp_path / "larger.onnx")
    assert tree(tmp_path / "models" / "encoder") == before


def test_writers_at_once_get_a_version_each(write, make_small, tmp_path):
    start = threading.Barrier(8)
    written = []
    for number in range(1, 9):
        export_onnx(make_small(seed=number), tmp_path / f"{number}.onnx")

    def work(number):
        start.wait()
        written.append(write(tmp_path / f"{number}.onnx", instances=number))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folder = tmp_path / "models" / "encoder"
    assert sorted(int(version.folder.name) for version in written) == [*range(1, 9)]
    assert sum(version.new_model for version in written) == 1
    assert {path.name for path in folder.iterdir()} == {*"12345678", "config.pbtxt"}


def test_a_number_taken_in_the_last_moment(write, monkeypatch):
    rename = Path.rename

    def too_late(self, target):
        monkeypatch.setattr(Path, "rename", rename)
        shutil.copytree(self, target)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", too_late)
    assert write().folder.name == "2"


@pytest.mark.parametrize(
    ("owner", "call"), [(os, "fsync"), (os, "link"), (Path, "rename")]
)
def test_a_failure_half_way_leaves_no_version(
    write, tmp_path, monkeypatch, owner, call
):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(owner, call, fail)
        with pytest.raises(OSError, match="No space left"):
            write()
    left = {path.name for path in (tmp_path / "models").rglob("*")}
    assert left <= {"encoder", "config.pbtxt"}
    assert write().folder.name == "1"


def test_a_kill_half_way_leaves_no_version(write, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", kill)
        patch.setattr(shutil, "rmtree", kill)  # a killed process does not tidy up
        with pytest.raises(Killed):
            write()
    (left,) = [p for p in (tmp_path / "models" / "encoder").iterdir() if p.is_dir()]
    assert left.name.startswith(".")
    assert write().folder.name == "1"


def test_a_damaged_model_changes_nothing(write, small_file, tmp_path):
    content = bytearray(small_file.read_bytes())
    weights = onnx.load(small_file).graph.initializer[1].raw_data
    content[content.index(weights)] ^= 1
    (tmp_path / "flipped.onnx").write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        write(tmp_path / "flipped.onnx")
    assert not (tmp_path / "models").exists()


def test_a_missing_model_changes_nothing(write, tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "none.onnx")
    assert not (tmp_path / "models").exists()


def test_a_repository_that_is_a_file(small_file, tmp_path):
    (tmp_path / "models").write_text("mine")
    with pytest.raises(OSError, match=r"Expected to write to .*models"):
        write_triton_repository(small_file, tmp_path / "models")
    assert (tmp_path / "models").read_text() == "mine"


def test_a_repository_that_is_read_only(small_file):
    is_root = os.geteuid() == 0
    # Not in tmp_path: only its owner gets there.
    with tempfile.TemporaryDirectory() as open_to_all:
        model, repository = Path(open_to_all, "model.onnx"), Path(open_to_all, "models")
        model.write_bytes(small_file.read_bytes())
        repository.mkdir()
        repository.chmod(0o555)
        Path(open_to_all).chmod(0o755)
        if is_root:  # whom no permission stops
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError, match=r"Expected to write to .*models"):
                write_triton_repository(model, repository)
        finally:
            if is_root:
                os.seteuid(0)
            repository.chmod(0o755)
        assert not list(repository.iterdir())
