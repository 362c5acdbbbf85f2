import pytest
from report_runs import write_run

from rkdo_plugin.recipes.report.collect import collect
from rkdo_plugin.recipes.report.conclusions import conclude
from rkdo_plugin.recipes.report.results import results_of


@pytest.fixture
def concluded(tmp_path):
    """What is concluded from runs, by settings, as two texts."""

    def conclude_from(*settings, maps=False, held_out=None):
        paths = [
            write_run(tmp_path / f"r{n}", **each) for n, each in enumerate(settings)
        ]
        found = collect(paths)
        results = results_of(found.finished)
        both = conclude(found, results, maps=maps, held_out=held_out)
        return "\n".join(both.may), "\n".join(both.may_not)

    return conclude_from


def arm(loss, scores, **options):
    return [
        {"loss": loss, "seed": seed, "knn": (0.1, score), **options}
        for seed, score in enumerate(scores)
    ]


def test_a_difference_beyond_chance_may_be_concluded(concluded):
    scores = [0.70, 0.71, 0.72, 0.69, 0.70]
    better = [score + 0.05 + 0.001 * seed for seed, score in enumerate(scores)]
    may, may_not = concluded(*arm("icon", scores), *arm("rkdo", better))
    assert (
        "That rkdo scores better than icon: +5.20 points [+5.00, +5.40], p < 0.001"
        in may
    )
    assert "That runs of icon score 70.40 % [68.98, 71.82] in the mean: 5 seeds" in may
    assert "better or worse" not in may_not
    assert "with fewer than 5 seeds" not in may_not
    assert "tuned alike" in may_not
    assert "losses of different objectives" in may_not


def test_chance_and_equality_may_not(concluded):
    may, may_not = concluded(
        *arm("icon", [0.7, 0.8, 0.7]), *arm("rkdo", [0.8, 0.7, 0.7])
    )
    assert "scores better" not in may
    assert "That rkdo is better or worse than icon, or that they are equal" in may_not
    assert "with fewer than 5 seeds" in may_not


def test_one_seed_is_said_to_be_one(concluded):
    may, may_not = concluded(*arm("icon", [0.7]), *arm("rkdo", [0.9]))
    assert may == "Nothing beyond these very runs."
    assert "+20.00 points, one seed, which may be chance" in may_not
    assert "of fewer than 3 seeds, or of equal scores (icon; rkdo)" in may_not
    assert "intervals are exact" not in may_not


def test_seeds_that_do_not_meet_are_not_compared(concluded):
    other = [{"loss": "rkdo", "seed": 5}]
    _, may_not = concluded(*arm("icon", [0.7]), *other)
    assert "That rkdo is better or worse than icon: they share no seed." in may_not


def test_crashed_runs_and_other_versions_are_named(concluded):
    crashed = {"seed": 7, "done": 1, "lightning": "2.4.0"}
    _, may_not = concluded(*arm("icon", [0.7, 0.8]), crashed)
    assert "1 run did not finish (r2, 1 of 2 epochs)" in may_not
    assert "used Lightning 2.4.0, 2.5.0" in may_not
    assert "losses of different objectives" not in may_not


def test_without_accuracies_nothing_is_said_of_the_features(concluded):
    may, may_not = concluded({"knn": None})
    assert "How good the features are: no finished run logged an accuracy" in may_not
    assert "best epoch" not in may_not
    assert may.startswith("Nothing beyond")


def test_maps_and_their_images(concluded):
    _, may_not = concluded({}, maps=True, held_out=False)
    assert "t-SNE keeps who is near whom" in may_not
    assert "the maps show training images" in may_not
