import io
import re
import sys

import pytest
from runs import CtrlC, train

LINE = re.compile(
    r"epoch (\d+)/(\d+), loss \d\.\d+(?:, knn \d\.?\d*)?, step (\d+)/(\d+), "
    r"\d+ images/s, \d\d:\d\d left"
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def lines(capsys):
    """Epoch, epochs, step and steps of each line on stderr; all lines are whole."""
    err = capsys.readouterr().err
    assert "\r" not in err
    assert "v_num" not in err
    found = [LINE.fullmatch(line) for line in err.splitlines()]
    assert all(found), err
    return [tuple(map(int, match.groups())) for match in found]


def run(out, **options):
    options = {"epochs": 3, "limit": 256, "batch_size": 64, "workers": 0} | options
    return train(out=str(out), progress=True, **options)


def test_a_file_gets_whole_lines_with_the_step(tmp_path, capsys):
    run(tmp_path / "run")  # 12 steps: a tenth of them is rounded up to 2
    expected = [(step, 12) for step in (2, 4, 6, 8, 10, 12)]
    assert [line[2:] for line in lines(capsys)] == expected


def test_a_run_of_many_epochs_prints_a_line_an_epoch(tmp_path, capsys):
    run(tmp_path / "run", epochs=10, limit=128)
    expected = [(epoch, 10, 2 * epoch, 20) for epoch in range(1, 11)]
    assert lines(capsys) == expected


def test_a_line_shows_what_was_logged_for_its_epoch(tmp_path, capsys):
    run(tmp_path / "run", epochs=1, knn_every=1)
    err = capsys.readouterr().err
    assert ["knn" in line for line in err.splitlines()] == [False, False, False, True]


def test_a_resumed_run_goes_on_counting(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", callbacks=[CtrlC(5)])
    capsys.readouterr()
    run(tmp_path / "run", resume=True)
    found = lines(capsys)
    assert [line[0] for line in found] == [2, 3, 3]
    assert [line[2] for line in found] == [8, 10, 12]


def test_a_terminal_gets_one_bar_over_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    run(tmp_path / "run")
    shown = terminal.getvalue()
    assert "v_num" not in shown
    assert shown.count("\n") == 1
    last = shown.split("\r")[-1]
    assert re.match(r"epoch 3/3, loss \d\.\d+: 100%", last)
    assert re.search(r"768/768 \[\d\d:\d\d<00:00, .*images/s\]", last)


def test_without_progress_nothing_is_said(tmp_path, capsys):
    run(tmp_path / "run", epochs=1)
    capsys.readouterr()
    train(out=str(tmp_path / "other"), epochs=1, limit=64, batch_size=64, workers=0)
    assert capsys.readouterr().err == ""
