"""What a careless user types, and what the status then says."""

import pytest

from rkdo_plugin.cli.main import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "train --loss rkd",
            "no loss named 'rkd'; known: barlowtwins, clip, ",
        ),
        (
            "train --recipe simclear",
            "supcon, temporal-ensembling, vicreg (did you mean simclr?)",
        ),
        ("train --loss rkdo --loss.coupling 3", "`coupling` to be a number in [0, 1]"),
        ("train --data cifar", "no data named 'cifar'"),
        (
            "train --encoder resnet",
            "no encoder named 'resnet'; known: masked-vit, ",
        ),
        ("train --batch-size 5000", "--batch-size to be at most 1437, the number of "),
        ("train --epochs -1", "Expected --epochs to be at least 1 but got -1"),
        ("train --workers -1", "Expected --workers to be at least 0 but got -1"),
        ("train --recipe.learning-rate -1", "`learning_rate` to be a finite positive"),
        ("demo --epochs 0", "Expected --epochs to be at least 1 but got 0"),
        ("embed . . out.parquet", "but got the folder .; export the run first: rkdo"),
        ("verify .", "but got the folder .; export the run first: rkdo"),
        ("triton . models", "but got the folder .; export the run first: rkdo"),
        ("evaluate nowhere.ckpt", "nowhere.ckpt"),
        ("export nowhere.ckpt out.onnx", "nowhere.ckpt"),
        ("embed nowhere.onnx . out.parquet", "nowhere.onnx"),
        ("inspect-field nowhere", "run folder but nowhere has no last.ckpt"),
    ],
)
def test_mistakes_are_one_line_and_a_status(
    words, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("rkdo: ")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_command_says_so_and_returns_130(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt("step 3 of 9 is saved")

    monkeypatch.setattr("rkdo_plugin.cli.main.COMMANDS", {"plugins": interrupted})
    assert main(["plugins"]) == 130
    assert "interrupted step 3 of 9 is saved" in capsys.readouterr().err
