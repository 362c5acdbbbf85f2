import json

import numpy as np
import pytest
from PIL import Image

from rkdo_plugin.cli.main import main

QUICK = "--temperatures 1 --learning-rates 1 0.5 --tuning-seeds 1 --lengths 0.5 1"


def compare(out, words):
    return main(["compare-losses", *words.split(), *QUICK.split(), "--out", str(out)])


def rows(out):
    return [*map(json.loads, (out / "runs.jsonl").read_text().splitlines())]


def test_losses_and_a_field_are_compared_on_digits(tmp_path, capsys):
    words = (
        "--loss ntxent --loss icon:field=hog --limit 160 --batch-size 32 --budget 20 "
        "--seeds 2 --data digits"
    )
    assert compare(tmp_path, words) == 0
    shown = capsys.readouterr().out
    assert shown == (tmp_path / "table.md").read_text()
    assert "digits, simclr: 160 training images, 360 images to score by; 20 steps" in (
        shown
    )
    assert "| icon:field=hog | temperature 0.5, learning rate 0.00" in shown
    lines = (tmp_path / "curves.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 2 * 2
    done = rows(tmp_path)
    assert len(done) == 4 + 8 and all(0.2 < row["score"] <= 1 for row in done)
    assert all(row["seconds"] > 0 for row in done)
    tuning = {row["steps"] for row in done if row["purpose"] == "tuning"}
    assert tuning == {2 * 4} and "Tuning: 8 steps, 1 seed" in shown  # of 128 images
    assert {r["steps"] for r in done if r["purpose"] == "result"} == {10, 20}
    assert {row["settings"]["field"] for row in done} == {None, "hog"}
    # The same command repeats nothing, and says the same.
    assert compare(tmp_path, words) == 0
    again = capsys.readouterr()
    assert (again.out, again.err) == (shown, "")
    assert rows(tmp_path) == done
    assert compare(tmp_path, words.replace("160", "161")) == 1
    error = capsys.readouterr().err
    assert "Expected runs of data " in error
    assert "choose another --out, or begin anew with --restart, which removes" in error


def test_images_without_labels_are_compared_by_rank(tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(60):
        pixels = random.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    words = "--loss ntxent --loss supcon --budget 6 --seeds 1 --batch-size 16 --data"
    assert compare(tmp_path / "out", f"{words} {folder}") == 0
    shown = capsys.readouterr().out
    assert "48 training images, 12 images to score by" in shown
    assert "RankMe counts the directions" in shown and "One seed" in shown
    assert "| supcon | every point failed | 0 of 1 |" in shown
    assert "* supcon, tuning: ValueError: Expected images with classes" in shown
    scores = [row["score"] for row in rows(tmp_path / "out") if "score" in row]
    assert len(scores) == 2 + 2 and all(1 <= score <= 12 for score in scores)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--loss ntxent --budget 9", "Expected --loss twice or more, to compare"),
        ("--loss ntxent --loss icn --budget 9", "did you mean icon?"),
        ("--loss ntxent --loss icon --budget 0", "Expected --budget to be at least 1"),
    ],
)
def test_errors_name_the_options(tmp_path, capsys, words, message):
    assert compare(tmp_path, words) == 1
    assert message in capsys.readouterr().err


def test_help_says_how_a_contender_is_written(capsys):
    with pytest.raises(SystemExit):
        main(["compare-losses", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "--loss LOSS A contender, twice or more: LOSS[:KEY=VALUE,...]" in shown
