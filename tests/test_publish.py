"""Files appear whole or not at all, whoever writes to the same place meanwhile."""

import errno
import os
from array import array
from concurrent.futures import ThreadPoolExecutor

import pytest

from rkdo_plugin import publish as publishing
from rkdo_plugin.publish import (
    growing,
    remove_drafts,
    require_writable,
    write_whole,
)


def state(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def no_links(monkeypatch):
    """A file system without links and without files that have no name."""

    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(publishing, "_nameless", lambda _: None)


def no_nameless_files(monkeypatch):
    """A system where every file has a name from the start."""
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)


@pytest.fixture(params=[lambda _: None, no_nameless_files, no_links])
def system(request, monkeypatch):
    """Linux with all it offers, and systems that offer less."""
    request.param(monkeypatch)


@pytest.mark.usefixtures("system")
def test_a_file_appears_and_is_replaced_when_that_is_asked_for(tmp_path):
    path = tmp_path / "output"
    write_whole(path, b"first", overwrite=False)
    with pytest.raises(FileExistsError, match=r"no file at .*output but it exists; "):
        write_whole(path, b"second", overwrite=False)
    assert state(tmp_path) == {"output": b"first"}
    write_whole(path, b"second", overwrite=True)
    assert state(tmp_path) == {"output": b"second"}


@pytest.mark.usefixtures("system")
def test_a_file_that_grows_appears_at_its_end(tmp_path):
    path = tmp_path / "output"
    with growing(path, overwrite=False) as file:
        for content in (b"one, ", b"two"):
            assert file.write(content) == len(content)
            assert not path.exists()
        assert file.tell() == 8
    assert state(tmp_path) == {"output": b"one, two"}
    with pytest.raises(KeyboardInterrupt), growing(path, overwrite=True) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert state(tmp_path) == {"output": b"one, two"}
    with growing(path, overwrite=True) as file:
        assert file.write(array("d", [1, 2])) == 16
    assert state(tmp_path) == {"output": array("d", [1, 2]).tobytes()}


def test_of_two_exports_to_one_path_at_once_one_succeeds(tmp_path):
    path, start = tmp_path / "model.onnx", 8
    contents = [bytes([number]) * 100_000 for number in range(start)]

    def write(content):
        try:
            write_whole(path, content, overwrite=False)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(start) as pool:
        wrote = list(pool.map(write, contents))
    assert wrote.count(True) == 1
    assert path.read_bytes() == contents[wrote.index(True)]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("system")
def test_what_appears_meanwhile_is_not_replaced(tmp_path):
    with (
        pytest.raises(FileExistsError, match="pass `overwrite` to replace it"),
        growing(tmp_path / "output", overwrite=False) as file,
    ):
        file.write(b"ours")
        (tmp_path / "output").write_text("precious")
    assert state(tmp_path) == {"output": b"precious"}


@pytest.mark.usefixtures("system")
def test_a_block_does_not_run_where_its_file_could_not_appear(tmp_path):
    (tmp_path / "output").write_text("precious")
    with (
        pytest.raises(FileExistsError, match="pass `overwrite` to replace it"),
        growing(tmp_path / "output", overwrite=False),
    ):
        pytest.fail("it ran in vain")
    assert state(tmp_path) == {"output": b"precious"}


def test_what_killed_processes_left_of_a_file_is_removed(tmp_path):
    kept = ["a", "b", ".a.tmp", f".b.{'0' * 32}.tmp", f".a.{'g' * 32}.tmp"]
    for name in (*kept, f".a.{'0' * 32}.tmp", f".a.{'f' * 32}.tmp"):
        (tmp_path / name).touch()
    remove_drafts(tmp_path, "a", "c")
    assert state(tmp_path).keys() == {*kept}
    remove_drafts(tmp_path, "*")
    assert state(tmp_path).keys() == {"a", "b", ".a.tmp", f".a.{'g' * 32}.tmp"}


def test_places_where_no_file_can_appear_are_refused_beforehand(tmp_path):
    (tmp_path / "file").touch()
    for path, error, message in (
        (tmp_path, IsADirectoryError, "is a folder"),
        (tmp_path / "file", FileExistsError, "file but it exists"),
        (tmp_path / "none" / "a", FileNotFoundError, "output folder .*none but got: "),
        (tmp_path / "file" / "a", NotADirectoryError, "output folder .*file but got: "),
    ):
        with pytest.raises(error, match=message):
            require_writable(path, overwrite=False)
    assert state(tmp_path) == {"file": b""}
