"""Interruptions, in small."""

import sys

import kills
import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="files without a name"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


@pytest.mark.parametrize(
    ("job", "fault", "every", "least"),
    [
        ("export", "kill", 1, 15),
        ("export", "full", 1, 15),
        ("embed", "kill", 9, 3),
        pytest.param("train", "kill", 13, 4, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_job_goes_on_to_the_same_files(job, fault, every, least):
    assert kills.attack(job, fault, every) >= least


class Careless(kills.Job):
    """Writes two files in place, and takes one that is there for a whole one."""

    def run(self, folder):
        folder.mkdir(exist_ok=True)
        for name in "ab":
            if not (folder / name).exists():
                with (folder / name).open("w") as file:
                    (folder / "mark").touch()
                    file.write(name)
        (folder / "mark").unlink()

    def check(self, folder):
        pass

    def content(self, folder):
        return {path.name: path.read_text() for path in folder.iterdir()}


def test_what_is_damaged_is_noticed(monkeypatch, capsys):
    monkeypatch.setitem(kills.JOBS, "careless", Careless)
    with pytest.raises(SystemExit):
        kills.attack("careless")
    assert "differ ['a']" in capsys.readouterr().out
