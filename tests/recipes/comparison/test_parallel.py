import os
from types import SimpleNamespace

from stub_attempts import dying, good, interrupted

from rkdo_plugin.recipes.comparison.parallel import Runner
from rkdo_plugin.recipes.comparison.results import Planned
from rkdo_plugin.recipes.training.settings import RunSettings

RUNS = [Planned("result", RunSettings(batch_size=16, seed=seed)) for seed in range(5)]
IMAGES = SimpleNamespace(train=range(50))  # a process imports what it is given


def test_runs_in_this_process_come_in_their_order():
    with Runner(good, IMAGES, 1) as runner:
        found = [*runner.run(RUNS)]
    assert [run for run, _ in found] == RUNS
    assert all(row == good(run, IMAGES) for run, row in found)


def test_runs_at_once_go_on_where_a_process_dies():
    with Runner(dying, IMAGES, 2) as runner:
        found = {run.settings.seed: row for run, row in runner.run(RUNS)}
    assert found.pop(1) == {"error": "the process died, perhaps for want of memory"}
    assert found.keys() == {0, 2, 3, 4}
    for seed, row in found.items():
        assert row["score"] == good(RUNS[seed], IMAGES)["score"]
        assert row["steps"] == 10 * (50 // 16)
    processes = {row["process"] for row in found.values()}
    assert os.getpid() not in processes and len(processes) > 1


def test_ctrl_c_is_for_the_parent_alone():
    with Runner(interrupted, IMAGES, 2) as runner:
        found = {run.settings.seed: row for run, row in runner.run(RUNS)}
    assert found[1]["score"] == good(RUNS[1], IMAGES)["score"]
