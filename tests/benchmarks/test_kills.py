"""Interruptions, in small."""

import json
import subprocess
import sys
from pathlib import Path

import kills
import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="files without a name"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
ATTACKS = {  # job, fault, every so many-th event: at least so many events
    ("export", "kill", 1): 15,
    ("export", "full", 1): 15,
    ("embed", "kill", 9): 3,
}
TRAINING = {("train", "kill", 13): 4}


@pytest.mark.parametrize(
    "attacks", [ATTACKS, pytest.param(TRAINING, marks=pytest.mark.slow)]
)
def test_an_interrupted_job_goes_on_to_the_same_files(attacks):
    # Not forked from this process, which other tests have given threads and settings.
    script = f"import kills; print([kills.attack(*each) for each in {[*attacks]}])"
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=Path(kills.__file__).parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert all(n >= least for n, least in zip(counts, attacks.values(), strict=True))


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
