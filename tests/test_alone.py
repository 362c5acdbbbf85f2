"""One process at a time writes into a folder."""

import errno
import os
import sys

import pytest

from rkdo_plugin import alone as locking
from rkdo_plugin.alone import alone

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no such locks")


def test_a_second_writer_is_refused_until_the_first_has_ended(tmp_path):
    (tmp_path / "config.yaml").touch()
    for place in (tmp_path, tmp_path / "config.yaml"):
        with (
            alone(place),
            pytest.raises(BlockingIOError, match=rf"write into {tmp_path} but one"),
            alone(place),
        ):
            pytest.fail("both write")
        with alone(place):
            pass
    with alone(tmp_path), alone(tmp_path / "config.yaml"):  # another place
        pass


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_does_not_keep_the_folder(tmp_path):
    """The worker of a loader lives on for a while when its parent was killed."""
    begun, beginning = os.pipe()
    waiting, ending = os.pipe()
    with alone(tmp_path):
        child = os.fork()
        if child == 0:
            os.close(ending)
            os.write(beginning, b"!")
            os.read(waiting, 1)  # until the parent is done
            os._exit(0)
        os.read(begun, 1)
    with alone(tmp_path):
        pass
    for pipe in (ending, waiting, begun, beginning):
        os.close(pipe)
    os.waitpid(child, 0)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EIO])
def test_where_there_are_no_locks_nobody_is_refused(tmp_path, monkeypatch, number):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locking.fcntl, "flock", fails)
    if number == errno.EIO:  # a fault of the disk
        with pytest.raises(OSError, match="put/output error"), alone(tmp_path):
            pytest.fail("it runs")
        return
    with alone(tmp_path), alone(tmp_path):
        pass
