"""What a careless user types, and what the status then says."""

import pytest

from rkdo_plugin.cli.main import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "train --loss rkd",
            "Expected a registered loss but got 'rkd'; known: barlowtwins, clip, ",
        ),
        (
            "train --recipe simclear",
            "a registered recipe but got 'simclear'; known: barlowtwins, byol, ",
        ),
        ("train --loss rkdo --loss.coupling 3", "`coupling` to be a number in [0, 1]"),
        ("train --data cifar", "but got 'cifar'"),
        (
            "train --encoder resnet",
            "a registered encoder but got 'resnet'; known: masked-vit, pix",
        ),
        ("train --batch-size 5000", "batch size from 1 to 1437"),
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


def test_an_interrupted_command_says_so_and_returns_130(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt("step 3 of 9 is saved")

    monkeypatch.setattr("rkdo_plugin.cli.main.COMMANDS", {"plugins": interrupted})
    assert main(["plugins"]) == 130
    assert "interrupted step 3 of 9 is saved" in capsys.readouterr().err
