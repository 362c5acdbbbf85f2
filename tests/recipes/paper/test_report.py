from rkdo_plugin.recipes.paper.costs import Cost
from rkdo_plugin.recipes.paper.report import paper_report
from rkdo_plugin.recipes.paper.scored import Result, Scored

FEATURES = {"kNN": 0.5, "linear": 0.25, "NMI": 0.1, "ARI": 0.2, "neighbours": 0.3}
HELD_OUT = {"held-out InfoNCE": 4.0, "held-out I-Con": 2.0, "held-out RKDO": 1.5}


def results(seeds, data="cifar10"):
    found = [Result("pixels", 0, 0, FEATURES)]
    for seed in seeds:
        found.append(Result("untrained", seed, 0, FEATURES | HELD_OUT))
        for loss, value in (("rkdo", 1.0), ("icon", 2.0)):
            own = {
                "ARI": 0.2 + seed * value / 100,
                "loss": value + seed,
                "kNN": value / 4 + seed * value / 100,
            }
            found.append(Result(loss, seed, 10, {**FEATURES, **HELD_OUT, **own}))
    return Scored(data, found)


def row(report, start):
    (found,) = (line for line in report.splitlines() if line.startswith(start))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_losses_stand_beside_the_papers_and_the_untrained_encoders():
    report = paper_report(results([0, 1]), published="cifar10")
    cells = row(report, "| 10 |")
    # Means 1.5 and 2.5 of the two seeds.
    assert cells[2:5] == ["1.5000 ± 0.7071", "2.5000 ± 0.7071", "40.0%"]
    assert cells[5] == "1.6200, 2.3127: 30.0%"
    assert row(report, "| untrained | 2")[2:6] == [
        "1.5000 ± 0.0000",
        "2.0000 ± 0.0000",
        "25.0%",
        "",
    ]


def test_features_stand_beside_raw_pixels_and_the_papers():
    report = paper_report(results([0, 1]), published="cifar10")
    assert row(report, "| raw pixels")[1:] == [
        "50.00",
        "25.00",
        "10.00",
        "20.00",
        "30.00",
        "",
    ]
    assert row(report, "| I-Con, 10 epochs")[1] == "51.00 ± 1.41"
    assert row(report, "| I-Con, 10 epochs")[-1] == "32.06"


def test_differences_are_tested_and_corrected():
    report = paper_report(results([0, 1, 2]))
    cells = row(report, "| kNN | 10 |")
    # Differences -0.25, -0.26 and -0.27: t = -0.26 / (0.01 / sqrt 3), 2 degrees.
    assert cells[2:5] == ["3", "-26.00", "-28.48 to -23.52"]
    # Two measures differ by seed, so that two tests are made: p is 0.00049 of one,
    # and of the other, with t = sqrt 3, it is 0.225.
    assert cells[5:] == ["< 0.001", "< 0.001"]  # twice 0.00049 is below, too
    assert row(report, "| ARI | 10 |")[5:] == ["0.225", "0.225"]
    assert row(report, "| NMI | 10 |")[4:] == ["none", "", ""]


def test_one_seed_has_no_interval():
    cells = row(paper_report(results([0])), "| kNN | 10 |")
    assert cells[3:] == ["-25.00", "none", "", ""]


def test_other_data_has_no_published_figures():
    report = paper_report(results([0], data="digits"))
    assert row(report, "| 10 |")[5] == ""
    assert row(report, "| RKDO, 10")[-1] == ""


def test_costs_are_beside_icons():
    costs = [Cost("I-Con", 0.5, 2_000_000_000), Cost("RKDO", 0.6, 2_000_200_000)]
    report = paper_report(results([0]), costs)
    assert row(report, "| RKDO |")[1:] == ["0.600", "1.20", "2.000", "+0.0100%"]
    assert "GFLOPs" not in paper_report(results([0]))


def test_a_row_is_over_the_seeds_that_both_have():
    some = results([0, 1])
    del some.by_key["icon", 10, 1]
    cells = row(paper_report(some), "| 10 |")
    assert cells[1:5] == ["1", "1.0000", "2.0000", "50.0%"]
