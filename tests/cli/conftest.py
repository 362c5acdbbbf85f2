import pytest

from rkdo_plugin.cli.main import main


@pytest.fixture(scope="session")
def road(tmp_path_factory):
    """A run folder and its export, made by the commands."""
    folder = tmp_path_factory.mktemp("road")
    run, model = str(folder / "run"), str(folder / "encoder.onnx")
    words = "train --loss rkdo --loss.temperature 0.2 --limit 512 --epochs 6"
    assert main([*words.split(), "--workers", "0", "--out", run]) == 0
    assert main(["export", run, model, "--data", "digits"]) == 0
    return folder
