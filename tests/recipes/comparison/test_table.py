import csv
from io import StringIO

import numpy as np
import pytest

from rkdo_plugin.recipes.comparison.compare import Comparison, Entry
from rkdo_plugin.recipes.comparison.contenders import contenders_of
from rkdo_plugin.recipes.comparison.grid import Point
from rkdo_plugin.recipes.comparison.images import comparison_images
from rkdo_plugin.recipes.comparison.settings import ComparisonSettings
from rkdo_plugin.recipes.comparison.table import curves_csv, markdown
from rkdo_plugin.recipes.data import load_data

LOST = {"error": "TrainingLostError: the loss\nbecame nan"}


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", limit=100)


def row(score, seconds=0.02):
    return {"score": score, "steps": 6, "seconds": seconds}


def comparison(digits, seeds=2, labels=True, **change):
    """Two contenders at 6 and 12 steps; the second is 0.1 better and takes longer."""
    entries = []
    for number, contender in enumerate(contenders_of(["ntxent", "vicreg"], "simclr")):
        rows = {
            (epochs, seed): row(0.5 + 0.1 * epochs + 0.1 * number + 0.01 * seed)
            for epochs in (1, 2)
            for seed in range(seeds)
        }
        if number:
            rows = {key: each | {"seconds": 0.03} for key, each in rows.items()}
        point = Point(None if number else 0.25, 0.004)
        entries.append(Entry(contender, 2 if number else 4, point, rows, [row(0.4)]))
    images = comparison_images(digits)
    if not labels:
        images = comparison_images(
            images.__class__(**vars(images) | {"num_classes": 0, "test": []})
        )
    settings = ComparisonSettings(budget=12, seeds=seeds, lengths=[0.5, 1])
    return Comparison(settings, images, [1, 2], 6, 5, entries, {})


def cells(text, start):
    """The cells of a row, by the head of its first cell."""
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith(f"| {start} ")
    ]


def test_figures_are_those_of_the_runs(digits):
    text = markdown(comparison(digits))
    assert text.startswith(
        "digits, simclr: 100 training images, 360 images to score by; 12 steps (2 "
        "epochs); 2 seeds\n"
    )
    heads, *_ = cells(text, "contender")
    assert heads[3:6] == [
        "kNN accuracy, %",
        "steps to the first one's score",
        "P(better than ntxent)",
    ]
    (main, curve, profile), (base, *_) = cells(text, "vicreg"), cells(text, "ntxent")
    assert base[1:4] == [
        "temperature 0.25, learning rate 0.004 (best of 4)",
        "2 of 2",
        "70.50 [70.00, 71.00]",
    ]
    assert base[4:] == ["1.00 [1.00, 1.00]", "-", "20.0 (x 1.00)"]
    assert main[3] == "80.50 [80.00, 81.00]"
    # Its own curve, 60.5 + 20 at 12 steps, reaches 70.5 in the shortest runs.
    assert main[4:] == [
        "≤ 0.50 [≤ 0.50, ≤ 0.50]",
        "1.00 [1.00, 1.00]",
        "30.0 (x 1.50)",
    ]
    assert curve[1:] == ["70.50 [70.00, 71.00]", "80.50 [80.00, 81.00]"]
    assert profile[1:] == ["1.00"] * 5
    assert "95 %, percentile bootstrap over the seeds. With so few seeds" in text
    assert "Tuning: 5 steps, 2 seeds from 1000, by the kNN accuracy of" in text
    assert "The contenders were not tuned alike" in text


def test_a_score_that_is_never_reached_is_said_so(digits):
    found = comparison(digits)
    turned = Comparison(**vars(found) | {"entries": found.entries[::-1]})
    assert cells(markdown(turned), "ntxent")[0][4] == "> 1 [> 1, > 1]"


def test_one_seed_has_no_interval(digits):
    text = markdown(comparison(digits, seeds=1))
    assert "[" not in text and "profile" not in text
    assert cells(text, "vicreg")[0][5] == "-"  # no probability of one pair
    assert "One seed: there is no interval, and any difference may be chance." in text


def test_many_seeds_are_not_called_few(digits):
    assert "too narrow" not in markdown(comparison(digits, seeds=10))


def test_runs_that_failed_are_shown_and_are_in_no_figure(digits):
    found = comparison(digits, seeds=3)
    found.entries[1].rows[2, 1] = LOST
    found.entries[1].rows[1, 0] = LOST
    found.entries[1].tuning.append(LOST)
    text = markdown(found)
    main = cells(text, "vicreg")[0]
    assert main[2] == "2 of 3"
    scores = [0.8, 0.82]  # of seeds 0 and 2
    assert main[3].startswith(f"{100 * np.mean(scores):.2f} [80.00")
    assert main[4] == "≤ 0.50"  # seed 2 alone has both lengths
    assert "* vicreg, seed 1, 2 epochs: TrainingLostError: the loss became nan" in text
    assert "* vicreg, seed 0, 1 epochs: TrainingLostError" in text
    assert "* vicreg, tuning: TrainingLostError" in text


def test_a_contender_without_a_run_is_shown(digits):
    found = comparison(digits)
    baseline, other = found.entries
    out = Entry(baseline.contender, 4, None, {}, [LOST])
    text = markdown(Comparison(**vars(found) | {"entries": [out, other]}))
    assert cells(text, "ntxent")[0][1:] == ["every point failed", "0 of 2", *"----"]
    assert cells(text, "vicreg")[0][3:6] == ["80.50 [80.00, 81.00]", "-", "-"]
    text = markdown(Comparison(**vars(found) | {"entries": [baseline, out]}))
    assert "* ntxent, tuning: TrainingLostError" in text


def test_without_labels_the_measure_is_no_percentage(digits):
    text = markdown(comparison(digits, labels=False))
    assert cells(text, "contender")[0][3] == "RankMe"
    assert cells(text, "ntxent")[0][3] == "0.70 [0.70, 0.71]"
    assert "The images have no labels." in text


def test_curves_are_numbers_by_run(digits):
    found = comparison(digits)
    found.entries[1].rows[2, 1] = LOST
    rows = [*csv.DictReader(StringIO(curves_csv(found)))]
    assert len(rows) == 8
    assert rows[0] == {
        "contender": "ntxent",
        "epochs": "1",
        "steps": "6",
        "seed": "0",
        "score": "0.6",
        "seconds": "0.02",
        "error": "",
    }
    assert (rows[-1]["steps"], rows[-1]["score"]) == ("12", "")
    assert rows[-1]["error"] == LOST["error"]
