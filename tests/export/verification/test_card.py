"""A model card says what a file is, and shows the worst images."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from rkdo_plugin.export import verify
from rkdo_plugin.export.encoder.images import sample_images
from rkdo_plugin.export.verification.card import model_card, require_places, store


@pytest.fixture
def passed(copied, make_small):
    return verify(copied, make_small())


def pictures(page):
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(p)))) for p in found]


def test_a_report_and_a_card_are_stored_beside_the_model(copied, passed):
    report, card = store(copied, passed, None, None)
    assert (report.name, card.name) == ("small.report.json", "small.card.html")
    assert report.parent == card.parent == copied.parent
    assert json.loads(report.read_text())["sha256"] == passed.sha256
    page = card.read_text()
    assert "Verification passed, precision fp32." in page
    for figure in passed.figures:
        assert figure.name.replace("<", "&lt;") in page and figure.value in page
    for name, value in (
        ("compared with", passed.compared_with),
        ("images", "43 generated"),
        ("batches", "1, 2, 7, 33"),
        ("run by", "onnxruntime, provider cpu"),
        ("sha256", passed.sha256),
    ):
        assert f"<td>{name}</td><td>{value}</td>" in page
    assert "<td></td><td>measured</td><td>bound</td><td>held</td>" in page
    assert "rkdo.image_size" in page
    assert pictures(page) == []
    assert "http" not in page  # it loads nothing from elsewhere


def test_the_worst_images_are_shown(copied, make_small):
    images = sample_images(50, 16, 3)
    report = verify(copied, make_small(seed=1), images)
    page = model_card("a.onnx", report, {}, images)
    assert "Verification failed" in page
    assert "Expected max |difference| to be &lt;= 1e-05" in page
    assert len(pictures(page)) == 5
    for shown, number in zip(pictures(page), report.worst, strict=True):
        np.testing.assert_array_equal(shown, images[number])


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels_show_the_first(passed, channels):
    images = sample_images(50, 16, channels)
    shown = pictures(model_card("a.onnx", passed, {}, images))
    np.testing.assert_array_equal(shown[0], images[passed.worst[0]][:, :, 0])


def test_a_damaged_file_gets_a_card_without_metadata(copied, make_small):
    copied.write_bytes(copied.read_bytes()[:-100])
    report = verify(copied, make_small())
    _, card = store(copied, report, None, None)
    assert "Verification failed" in card.read_text()
    assert "<td>batches</td><td>none</td>" in card.read_text()
    assert "rkdo.image_size" not in card.read_text()


def test_names_are_escaped(passed):
    assert "<b>" not in model_card("<b>.onnx", passed, {"rkdo.mean": "<b>"}, None)


def test_places_that_cannot_be_written_to_are_refused(copied, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"output folder .*none but got: "):
        require_places(copied, tmp_path / "none")
