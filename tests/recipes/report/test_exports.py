import dataclasses
import json
import math

import pytest

from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder, export_onnx
from rkdo_plugin.export.verification.attempts import Attempt
from rkdo_plugin.recipes.report.exports import read_found_export


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An exported file, and the report of its verification."""
    backbone = create_encoder("small-convnet", in_channels=1)
    encoder = Encoder(backbone, image_size=16, mean=[0.5], std=[0.25])
    path = tmp_path_factory.mktemp("export") / "encoder.onnx"
    return path, export_onnx(encoder, path)


def test_the_report_beside_a_file_is_read_back(exported):
    path, report = exported
    stored = path.with_name("encoder.report.json")
    stored.write_text(report.to_json())
    found = read_found_export(path)
    assert found.precision == "fp32"
    assert found.report.figures == report.figures
    assert (found.report.passed, found.remark) == (True, "")
    assert math.isnan(found.report.knn[0])  # null in the file
    failed = dataclasses.replace(report, failures=("Expected less",))
    stored.write_text(failed.to_json())
    assert not read_found_export(path).report.passed


def test_a_report_of_another_file_says_nothing_about_this_one(exported):
    path, report = exported
    stored = path.with_name("encoder.report.json")
    stored.write_text(dataclasses.replace(report, sha256="0" * 64).to_json())
    found = read_found_export(path)
    assert found.report is None
    assert "about another file" in found.remark
    stored.write_text("{}")
    with pytest.raises(ValueError, match="of another version"):
        read_found_export(path)
    stored.unlink()
    assert "run rkdo verify" in read_found_export(path).remark


def test_what_a_search_tried_is_read_back(exported):
    path, report = exported
    tried = (Attempt("entropy", 3, 0.25, 1e-3, 1e-4, 0.9, 0.5),)
    searched = dataclasses.replace(report, tried=tried, float_layers=("conv",))
    path.with_name("encoder.report.json").write_text(searched.to_json())
    assert str(read_found_export(path).report) == str(searched)


@pytest.mark.parametrize(
    "changed",
    [
        {"precision": "fp99"},
        {"knn": [0.5]},
        {"knn": [0.5, "0.5"]},
        {"max_abs": "small"},
        {"images": True},
        {"failures": None},
        {"tried": [[]]},
        {"speed": 10**400},
    ],
)
def test_a_report_of_other_types_is_damaged(exported, changed):
    path, report = exported
    values = json.loads(report.to_json()) | changed
    path.with_name("encoder.report.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"encoder\.report\.json .* it is damaged"):
        read_found_export(path)


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000])
def test_a_report_of_other_bytes_is_damaged(exported, content):
    path, _ = exported
    path.with_name("encoder.report.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"encoder\.report\.json .* it is damaged"):
        read_found_export(path)
