"""Export, verification and Triton, of a run that the commands trained."""

import json
import pickle

import pytest
import torch

from rkdo_plugin import create_recipe
from rkdo_plugin.cli.main import main
from rkdo_plugin.export.verification.gates import GATES, Gate
from rkdo_plugin.recipes.data import load_data


def test_a_failed_export_is_a_status_and_no_file(road, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(GATES, "fp32", Gate(max_abs=0.0))
    output = tmp_path / "encoder.onnx"
    assert main(["export", str(road / "run"), str(output)]) == 1
    assert "parity FAILED" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_verify_and_evaluate_read_the_export(road, capsys):
    model, run = str(road / "encoder.onnx"), str(road / "run")
    assert main(["verify", model, "--checkpoint", run, "--data", "digits"]) == 0
    out = capsys.readouterr().out
    assert "parity passed on 360 images" in out and "10-NN accuracy lost" in out
    report = json.loads((road / "encoder.report.json").read_text())
    assert report["passed"] and report["images"] == 360
    assert "Verification passed" in (road / "encoder.card.html").read_text()
    scores = []
    for source in (run, f"{run}/last.ckpt"):
        assert main(["evaluate", source]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert "1,437 training images, 360 test images" in lines[0]
        scores.append(lines[1].split()[:4])
    assert main(["evaluate", model, "--data", "digits"]) == 0
    scores.append(capsys.readouterr().out.splitlines()[1].split()[:4])
    assert scores[0] == scores[1] == scores[2]


def test_an_existing_export_is_kept_unless_told_otherwise(road, capsys):
    model = road / "encoder.onnx"
    before = model.read_bytes()
    words = ["export", str(road / "run"), str(model)]
    assert main(words) == 1
    assert "encoder.onnx" in capsys.readouterr().err
    assert model.read_bytes() == before
    assert main([*words, "--overwrite"]) == 0


def test_another_runs_export_fails_verification(road, tmp_path, capsys):
    other = str(tmp_path / "other")
    words = "train --limit 512 --epochs 1 --seed 1 --workers 0 --out"
    assert main([*words.split(), other]) == 0
    assert main(["verify", str(road / "encoder.onnx"), "--checkpoint", other]) == 1
    assert "parity FAILED" in capsys.readouterr().err


def test_a_report_that_could_not_be_stored_is_refused_before_the_work(
    road, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("rkdo_plugin.export.verify", None)
    words = ["verify", str(road / "encoder.onnx"), "--out", str(tmp_path / "none")]
    assert main(words) == 1
    assert "output folder" in capsys.readouterr().err


def test_a_pair_that_cannot_be_compared_says_why_and_stores_nothing(
    road, tmp_path, capsys
):
    run, wide = str(road / "run"), str(tmp_path / "wide.onnx")
    assert main(["export", run, wide, "--image-size", "20"]) == 0
    assert (
        "image size 20 instead of 28, which the checkpoint records\n"
        in capsys.readouterr().out
    )
    assert main(["verify", wide, "--checkpoint", run, "--image-size", "20"]) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "wide.report.json" in before
    capsys.readouterr()
    assert main(["verify", wide, "--checkpoint", run]) == 1
    assert capsys.readouterr().err == (
        "rkdo: parity FAILED: no image was compared\n"
        "  failed: Expected a file for images (B, 28, 28, 1), like its encoder, but "
        "got (B, 20, 20, 1)\n"
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_checkpoint_of_lightlys_script_says_which_options_it_needs(tmp_path, capsys):
    recipe = create_recipe("simclr", encoder="small-convnet", in_channels=3)
    checkpoint, output = tmp_path / "lightly.ckpt", tmp_path / "e.onnx"
    torch.save({"state_dict": recipe.state_dict()}, checkpoint)
    words = ["export", str(checkpoint), str(output)]
    assert main(words) == 1
    assert (
        "Expected --backbone, --image-size, --mean, --std but got none; "
        in capsys.readouterr().err
    )
    options = "--backbone small-convnet --image-size 32"
    means = "--mean 0.485 0.456 0.406 --std 0.229 0.224 0.225"
    assert main([*words, *options.split(), *means.split()]) == 0
    means = "--mean [0.485,0.456,0.406] --std [0.229,0.224,0.225] --overwrite"
    assert main([*words, *options.split(), *means.split()]) == 0
    assert main([*words, *options.split(), *means.split()[:-1]]) == 1
    assert "pass --overwrite to replace it" in capsys.readouterr().err


@pytest.mark.filterwarnings("error")
def test_a_file_that_is_no_checkpoint_is_one_line(tmp_path, capsys):
    (tmp_path / "README.md").write_text("# Read me\n")
    (tmp_path / "words.pkl").write_bytes(pickle.dumps({"a": b"b"}, protocol=4))
    for name in ("README.md", "words.pkl"):
        assert main(["export", str(tmp_path / name), str(tmp_path / "o.onnx")]) == 1
        error = capsys.readouterr().err
        assert f".safetensors file at {tmp_path / name} but it" in error
        assert "weights_only" not in error and error.count("\n") == 1


def test_what_describes_a_foreign_encoder_needs_its_checkpoint(road, capsys):
    model = str(road / "encoder.onnx")
    assert main(["verify", model, "--image-size", "28"]) == 1
    assert "--checkpoint beside --image-size" in capsys.readouterr().err


def test_precisions_triton_and_a_graph_that_resizes(road, tmp_path, capsys):
    run, model = str(road / "run"), str(tmp_path / "digits.onnx")
    words = ["export", run, model, "--precision", "int8", "--resize"]
    assert main([*words, "--triton", str(tmp_path / "models")]) == 0
    out = capsys.readouterr().out
    assert "int8 on cpu" in out and "parity passed on 360 images" in out
    assert (tmp_path / "models" / "digits" / "1" / "model.onnx").is_file()
    symmetric = [*words[:2], str(tmp_path / "symmetric.onnx"), *words[3:4]]
    assert main([*symmetric, "int8-tensorrt"]) == 0
    assert "int8-tensorrt on cpu" in capsys.readouterr().out
    assert main(["triton", model, str(tmp_path / "models"), "--device", "cpu"]) == 0
    assert "already there: " in capsys.readouterr().out
    assert not (tmp_path / "models" / "digits" / "2").exists()
    # Without classes: two of 360 images are more than the gate on accuracy lets pass,
    # and a CPU's rounding decides them.
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, (image, _) in enumerate(load_data("digits").test):
        image.save(pictures / f"{number}.png")
    compared = ["verify", model, "--data", str(pictures), "--limit", "360"]
    float32 = str(road / "encoder.onnx")
    out = tmp_path / "reports"
    out.mkdir()
    assert main([*compared, "--checkpoint", float32, "--out", str(out)]) == 0
    assert "against encoder.onnx on cpu" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        "digits.card.html",
        "digits.report.json",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--precision fp16 --calibration digits", "no --calibration for precision"),
        ("--precision int8-dynamic", "vision transformer"),
        ("--branch head", "head"),
        ("--any-size --resize", "what size should"),
        ("--image-size 0", "--image-size to be at least 1 but got 0"),
        ("--signer acme", "there is no signer named 'acme'; known: none"),
    ],
)
def test_an_export_that_cannot_be(road, words, message, tmp_path, capsys):
    output = tmp_path / "encoder.onnx"
    assert main(["export", str(road / "run"), str(output), *words.split()]) == 1
    assert message in capsys.readouterr().err
    assert not output.exists()
