import pytest
from report_runs import write_run

from rkdo_plugin.recipes.report.collect import collect


def test_runs_of_different_data_are_refused_with_the_reason(tmp_path):
    one = write_run(tmp_path / "one")
    other = write_run(tmp_path / "other", data="cifar10")
    with pytest.raises(ValueError, match="figures of different images do not compare"):
        collect([one, other])
    with pytest.raises(ValueError, match=r"one has digits and .*other has cifar10"):
        collect([one, other])


def test_a_folder_that_grew_between_runs_is_refused(tmp_path):
    one = write_run(tmp_path / "one", samples=100)
    grown = write_run(tmp_path / "grown", samples=120, seed=1)
    with pytest.raises(ValueError, match=r"has 100 of 10 .* has 120 of 10 classes"):
        collect([one, grown])
    fewer = write_run(tmp_path / "fewer", samples=50, limit=50)
    assert len(collect([one, fewer]).arms) == 2  # fewer of the same images


def test_what_is_nothing_of_the_kind_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is none"):
        collect([tmp_path])
    with pytest.raises(FileNotFoundError, match="is none"):
        collect([tmp_path / "missing"])
    with pytest.raises(ValueError, match="at least one run"):
        collect([])


def test_order_and_kinds(tmp_path):
    found = collect([write_run(tmp_path / "b", seed=1), write_run(tmp_path / "a")])
    assert [run.folder.name for run in found.runs] == ["a", "b"]  # by seed
    assert (found.comparisons, found.exports, found.data) == ([], [], "digits")
    assert found.finished == found.arms
