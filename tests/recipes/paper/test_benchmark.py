from dataclasses import replace

import pytest

from rkdo_plugin.recipes.comparison.results import RUNS, TABLE
from rkdo_plugin.recipes.paper import benchmark
from rkdo_plugin.recipes.paper.benchmark import run_paper
from rkdo_plugin.recipes.paper.run import run_seed


@pytest.fixture
def done(monkeypatch):
    """The runs that are trained."""
    names = []

    def noted(loss, seed, images, protocol):
        names.append((loss, seed))
        yield from run_seed(loss, seed, images, protocol)

    monkeypatch.setattr(benchmark, "run_seed", noted)
    monkeypatch.setattr(benchmark, "step_costs", lambda *_: [])
    return names


def test_an_interrupted_benchmark_goes_on(tmp_path, protocol, done):
    one = replace(protocol, seeds=(0,))
    report = run_paper("digits", tmp_path, protocol=one)
    assert done == [("untrained", 0), ("rkdo", 0), ("icon", 0)]
    assert (tmp_path / TABLE).read_text() == report + "\n"
    lines = (tmp_path / RUNS).read_text().splitlines(keepends=True)
    (tmp_path / RUNS).write_text("".join(lines)[:-9])  # the last run is torn
    done.clear()
    assert run_paper("digits", tmp_path, protocol=one) == report
    assert done == [("icon", 0)]
    done.clear()
    assert run_paper("digits", tmp_path, protocol=one, restart=True) == report
    assert len(done) == 3


def test_a_run_that_fails_spoils_no_other(tmp_path, protocol, done, monkeypatch):
    def failing(loss, seed, images, protocol):
        if loss == "rkdo":
            raise RuntimeError("no memory")
        yield from run_seed(loss, seed, images, protocol)

    monkeypatch.setattr(benchmark, "run_seed", failing)
    with pytest.raises(
        RuntimeError, match=r"4 runs .* 1 failed.*rkdo, seed 0: RuntimeError: no m"
    ):
        run_paper("digits", tmp_path, protocol=replace(protocol, seeds=(0,)))
    table = (tmp_path / TABLE).read_text()
    assert "I-Con, 2 epochs" in table
    assert "RKDO, 2 epochs" not in table


def test_another_protocol_is_refused(tmp_path, protocol, done):
    one = replace(protocol, seeds=(0,), epochs=(1,))
    run_paper("digits", tmp_path, protocol=one)
    with pytest.raises(ValueError, match="runs of protocol"):
        run_paper("digits", tmp_path, protocol=protocol)


@pytest.mark.slow
def test_processes_come_to_the_same_result(tmp_path, protocol, monkeypatch):
    monkeypatch.setattr(benchmark, "step_costs", lambda *_: [])
    one = replace(protocol, seeds=(0,), epochs=(1,))
    reports = [
        run_paper("digits", tmp_path / str(jobs), protocol=one, jobs=jobs)
        for jobs in (1, 2)
    ]
    assert reports[0] == reports[1]
