"""Comparisons whose runs train nothing."""

import json

import pytest
from stub_attempts import good

from rkdo_plugin.recipes.comparison import compare
from rkdo_plugin.recipes.comparison.compare import compare_losses
from rkdo_plugin.recipes.comparison.settings import ComparisonSettings

LOSSES = ["ntxent", "icon:temperature=0.3"]


def settings(**options):
    usual = {"budget": 24, "limit": 100, "batch_size": 16, "seeds": 2}
    return ComparisonSettings(**usual | options)


@pytest.fixture
def runs(monkeypatch):
    """What was run, in its order; a function in `runs.fail` may end a run."""

    class Runs(list):
        def fail(self, planned):
            pass

    done = Runs()

    def attempt(planned, images):
        done.append(planned)
        return done.fail(planned) or good(planned, images)

    monkeypatch.setattr(compare, "attempt", attempt)
    return done


def rows(folder):
    return [*map(json.loads, (folder / "runs.jsonl").read_text().splitlines())]


def test_all_contenders_have_the_same_lengths_seeds_and_grid(tmp_path, runs):
    found = compare_losses(settings(), LOSSES, tmp_path)
    # 6 steps an epoch of 100 images, 5 of the 80 that the tuning trains on.
    assert (found.epochs, found.steps, found.tuning_steps) == (
        [1, 2, 4],
        [6, 12, 24],
        5,
    )
    first, second = found.entries
    assert (first.points, second.points) == (4, 2)  # icon sets its temperature
    assert (first.point.temperature, second.point.temperature) == (0.25, None)
    for entry in found.entries:
        assert {*entry.rows} == {(e, s) for e in (1, 2, 4) for s in (0, 1)}
        assert len(entry.tuning) == 2 * entry.points
        assert {row["settings"]["seed"] for row in entry.tuning} == {1000, 1001}
    assert first.scores(4) == pytest.approx({0: 0.515, 1: 0.5151})
    assert second.curves([1, 4])[1] == pytest.approx([0.4801, 0.5101])
    assert (first.seconds(), second.seconds()) == (0.01, 0.02)
    assert len(rows(tmp_path)) == len(runs) == 12 + 12


def test_an_interrupted_comparison_goes_on(tmp_path, runs, capsys):
    def interrupt(planned):
        if len(runs) == 15:
            raise KeyboardInterrupt

    runs.fail = interrupt
    with pytest.raises(KeyboardInterrupt, match="after 2 of 12 runs; the same command"):
        compare_losses(settings(), LOSSES, tmp_path)
    assert len(rows(tmp_path)) == 14
    broken_off, done = runs[14], len(runs)
    resumed = compare_losses(settings(), LOSSES, tmp_path)
    assert runs[done] == broken_off and len(runs) == done + 10
    whole = compare_losses(settings(), LOSSES, tmp_path / "whole")
    assert resumed.entries == whole.entries
    assert "result 10/10: icon, 4 epochs, seed 1: 0.5101; 00:00 left" in (
        capsys.readouterr().err
    )


def test_more_seeds_and_contenders_take_over_what_is_finished(tmp_path, runs):
    compare_losses(settings(), LOSSES, tmp_path)
    done = len(runs)
    more = compare_losses(settings(seeds=3), [*LOSSES, "rkdo"], tmp_path)
    assert len(runs) - done == 3 + 3 + (8 + 9)
    assert more.entries[0].scores(4).keys() == {0, 1, 2}


def test_a_run_that_failed_is_recorded_and_the_others_go_on(tmp_path, runs):
    def fail(planned):
        if (planned.settings.loss, planned.settings.seed) == ("icon", 1):
            return {"error": "TrainingLostError: the loss became nan"}

    runs.fail = fail
    found = compare_losses(settings(seeds=3), LOSSES, tmp_path)
    good_one, bad = found.entries
    assert good_one.scores(4).keys() == {0, 1, 2}
    assert bad.scores(4).keys() == bad.curves(found.epochs).keys() == {0, 2}
    assert "nan" in bad.rows[4, 1]["error"]
    runs.fail, done = lambda planned: None, len(runs)
    again = compare_losses(settings(seeds=3), LOSSES, tmp_path)
    assert {run.settings.seed for run in runs[done:]} == {1}  # they are tried again
    assert again.entries[1].scores(4).keys() == {0, 1, 2}


def test_a_contender_that_cannot_be_tuned_is_left_out(tmp_path, runs):
    runs.fail = lambda planned: planned.settings.loss == "icon" and {"error": "no"}
    found = compare_losses(settings(), LOSSES, tmp_path)
    assert found.entries[1].point is None and not found.entries[1].rows
    assert {row["error"] for row in found.entries[1].tuning} == {"no"}
    assert found.entries[0].scores(4).keys() == {0, 1}


def test_runs_of_other_data_or_code_are_refused(tmp_path, runs, monkeypatch):
    compare_losses(settings(), LOSSES, tmp_path)
    with pytest.raises(ValueError, match=r"runs of data .* `restart`"):
        compare_losses(settings(limit=110), LOSSES, tmp_path)
    monkeypatch.setattr(compare, "code_version", lambda: "later")
    with pytest.raises(ValueError, match=r"runs of code later .* `restart`"):
        compare_losses(settings(), LOSSES, tmp_path)
    done = len(runs)
    compare_losses(settings(), LOSSES, tmp_path, restart=True)
    assert len(runs) == 2 * done and len(rows(tmp_path)) == done


def test_a_grid_of_one_point_is_not_run(tmp_path, runs):
    one = settings(temperatures=[1], learning_rates=[1])
    found = compare_losses(one, LOSSES, tmp_path)
    assert {run.purpose for run in runs} == {"result"}
    assert [entry.points for entry in found.entries] == [1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 81}, "`batch_size` to be at most 80, the number of images"),
        ({"recipe": "map2d"}, "features are scored.*map2d, which reports on itself"),
        ({"budget": 9}, "`budget` of which"),
        ({"data": "nowhere"}, "no data named 'nowhere'"),
    ],
)
def test_what_cannot_be_compared_is_refused_at_once(tmp_path, runs, options, message):
    with pytest.raises(ValueError, match=message):
        compare_losses(settings(**options), LOSSES, tmp_path)
    assert not runs and not [*tmp_path.iterdir()]
