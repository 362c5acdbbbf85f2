import json

import int8_encoders
import numpy as np
import pytest
from checkout import ROOT
from int8_encoders import Run
from photographs import crops
from PIL import Image


@pytest.fixture
def folder(tmp_path):
    """The same photographs for training and testing, in two classes by order."""
    for number, pixels in enumerate(crops(72, 32)):
        for part in ("train", "test"):
            file = tmp_path / part / f"class{number // 36}" / f"{number:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    return tmp_path


def test_an_encoder_is_trained_once_and_measured_once(
    folder, tmp_path, monkeypatch, capsys
):
    results = tmp_path / "results.jsonl"
    run = Run("cifar10", 32, steps=2)
    settings = {
        "ENCODERS": {"small-convnet": run},
        "RESULTS": results,
        "TRAINING_IMAGES": 60,
        "CALIBRATION": 16,
        "JUDGED": 24,
        "FRESH": 48,
    }
    for name, value in settings.items():
        monkeypatch.setattr(int8_encoders, name, value)
    for action in ("train", "measure", "train", "measure"):
        int8_encoders.main([action, str(folder), str(tmp_path)])
    (row,) = map(json.loads, results.read_text().splitlines())
    assert row["outcome"].startswith("passed") and row["size"] < 0.5
    capsys.readouterr()
    int8_encoders.main(["table"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"| small-convnet | 32 | {row['outcome']} |")


def test_grey_images_are_padded_with_black():
    data = int8_encoders.load_data("digits", image_size=28)
    pixels, labels = int8_encoders.fitted_images(
        data, Run("digits", 32), "test", count=20
    )
    assert pixels.shape == (20, 32, 32, 1) and labels.shape == (20,)
    inside = pixels[:, 2:-2, 2:-2]
    assert inside.sum() == pixels.sum() and np.ptp(inside) == 255


def test_the_page_has_the_table_of_the_results():
    page = (ROOT / "docs" / "export-encoders.md").read_text()
    rows = int8_encoders.results()
    assert rows
    for row in rows.values():
        assert int8_encoders.table_row(row) in page
