import numpy as np
import pytest
import torch
from PIL import Image

from rkdo_plugin.cli.main import main
from rkdo_plugin.recipes.field.inspect import load_run_field


def test_a_field_starts_from_a_file_of_features(tmp_path):
    np.save(tmp_path / "two.npy", np.eye(2)[np.arange(256) % 2])
    words = "train --limit 256 --batch-size 64 --epochs 1 --workers 0 --field"
    run = tmp_path / "run"
    assert main([*words.split(), str(tmp_path / "two.npy"), "--out", str(run)]) == 0
    field = load_run_field(run).field
    assert ((field.ids - torch.arange(256)[:, None]) % 2 == 0).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--field pixel", "but got 'pixel', and there is no such file"),
        ("--field short.npy", "features (256, F), one row for each training image"),
        ("--field .", "last.ckpt"),
        ("--field.coupling 0.1", "Expected --field beside --field.coupling"),
        ("--field one-hot --field.coupling 2", "`coupling`"),
        ("--field hog --field.neighbors 256", "`neighbors`"),
        ("--field hog --field.search fast", "`search`"),
    ],
)
def test_a_mistaken_field_leaves_no_run_folder(
    words, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    np.save("short.npy", np.zeros((255, 3)))
    train = "train --limit 256 --batch-size 64 --epochs 1 --workers 0"
    assert main([*train.split(), *words.split()]) == 1
    error = capsys.readouterr().err
    assert error.startswith("rkdo: ")
    assert error.count("\n") == 1
    assert message in error
    assert [path.name for path in tmp_path.iterdir()] == ["short.npy"]


@pytest.mark.slow
def test_the_demo_leaves_a_verified_export_and_a_picture(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo"), "--epochs", "2"]) == 0
    out = capsys.readouterr().out
    for name in ("raw pixels", "untrained encoder", "NT-Xent", "I-Con", "RKDO"):
        assert name in out
    assert "parity passed" in out
    assert "as through PyTorch" in out
    assert Image.open(tmp_path / "demo" / "demo.png").size == (1650, 990)
    assert (tmp_path / "demo" / "encoder.onnx").is_file()
