import math

import results


def test_a_run_is_read_as_it_was_appended(tmp_path):
    file = tmp_path / "results.jsonl"
    assert results.read(file) == {}
    rows = [
        {"name": "plain", "epochs": 2, "seed": seed, "knn": 0.5 + seed / 10}
        for seed in (1, 0)
    ]
    for row in rows:
        results.append(file, row)
    results.append(file, {"name": "plain", "epochs": 2, "seed": 2})
    found = results.read(file)
    assert found["plain", 2, 1] == rows[0]
    assert results.scores_of(found, "plain", 2, "knn") == {0: 0.5, 1: 0.6}
    assert results.scores_of(found, "plain", 3, "knn") == {}


def test_means_are_in_per_cent_with_the_spread_between_seeds():
    assert results.spread({}) == ""
    assert results.spread({3: 0.5}) == "50.00"
    assert results.spread({0: 0.5, 1: 0.6}) == f"55.00 ± {10 / math.sqrt(2):.2f}"


def test_differences_are_those_of_the_seeds_that_both_have():
    own = {0: 0.6, 1: 0.7, 2: 0.9, 3: 0.5}
    other = {1: 0.6, 0: 0.4, 2: 0.9, 5: 0.1}
    # 20, 10 and 0 points; Student's t of two degrees of freedom is 4.3027.
    half = 4.30265 * 10 / math.sqrt(3)
    expected = f"+10.00 | {10 - half:+.2f} to {10 + half:+.2f}"
    assert results.difference(own, other) == expected


def test_two_seeds_have_no_interval():
    assert results.difference({0: 0.6, 1: 0.7}, {0: 0.4, 1: 0.6}) == "+15.00 | "
