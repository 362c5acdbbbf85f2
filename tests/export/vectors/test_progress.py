"""A bar appears where one waits, and nowhere else."""

from rkdo_plugin.export.vectors import progress


def test_a_short_loop_shows_nothing(capsys):
    assert list(progress.watched(range(5), "search", 5)) == [*range(5)]
    assert capsys.readouterr().err == ""


def test_a_long_one_shows_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0)
    steps = progress.watched(range(5), "search", 5)
    assert [next(steps), *steps] == [*range(5)]
    assert "search:   0%|" in capsys.readouterr().err
