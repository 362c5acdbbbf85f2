from rkdo_plugin.recipes.paper.scored import Result, Scored

FIRST = [Result("icon", 0, epochs, {"loss": 2.0 / epochs}) for epochs in (1, 2)]
SECOND = [Result("rkdo", 0, 1, {"loss": 1.0}), Result("rkdo", 1, 1, {"loss": 1.5})]


def test_pairs_are_the_seeds_that_both_have():
    results = Scored("digits", [*FIRST, *SECOND])
    assert results.epochs == [1, 2]
    assert results.of("rkdo", 1, "loss") == {0: 1.0, 1: 1.5}
    assert results.pairs(1, "loss") == ([1.0], [2.0])
    assert results.pairs(2, "loss") == ([], [])
