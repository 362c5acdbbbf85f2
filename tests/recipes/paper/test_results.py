import pytest

from rkdo_plugin.recipes.paper.results import Result, Results, ResultsFile

ABOUT = {"data": "digits", "code": "1"}
FIRST = [Result("icon", 0, epochs, {"loss": 2.0 / epochs}) for epochs in (1, 2)]
SECOND = [Result("rkdo", 0, 1, {"loss": 1.0}), Result("rkdo", 1, 1, {"loss": 1.5})]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "new" / "results.jsonl"
    file = ResultsFile(path, ABOUT)
    file.add(FIRST)
    file.add(SECOND)
    return path


def test_results_are_read_again(path):
    assert ResultsFile(path, ABOUT).results == [*FIRST, *SECOND]


def test_a_line_that_was_cut_is_dropped(path):
    path.write_text(path.read_text()[:-9])
    file = ResultsFile(path, ABOUT)
    assert file.results == [*FIRST, SECOND[0]]
    file.add(SECOND[1:])
    assert ResultsFile(path, ABOUT).results == [*FIRST, *SECOND]


def test_results_of_other_code_are_refused_and_stay(path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="this code, 2, but got 1; --restart"):
        ResultsFile(path, ABOUT | {"code": "2"})
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["", "x\n", '{"data": 1\n', '{}\n{"loss": 1}\n'])
def test_another_file_is_refused_and_stays(tmp_path, text):
    path = tmp_path / "results.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match="Expected results of rkdo benchmark paper"):
        ResultsFile(path, ABOUT)
    assert path.read_text() == text


def test_pairs_are_the_seeds_that_both_have():
    results = Results("digits", [*FIRST, *SECOND])
    assert results.epochs == [1, 2]
    assert results.of("rkdo", 1, "loss") == {0: 1.0, 1: 1.5}
    assert results.pairs(1, "loss") == ([1.0], [2.0])
    assert results.pairs(2, "loss") == ([], [])
