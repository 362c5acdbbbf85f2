import pytest
from PIL import Image

from rkdo_plugin.cli.main import main


@pytest.mark.parametrize("command", ["inspect-field", "inspect_field"])
def test_inspecting_a_field_prints_figures_and_leaves_a_picture(
    command, tmp_path, capsys
):
    run = str(tmp_path / "run")
    words = "train --limit 256 --batch-size 64 --epochs 1 --workers 0 --field hog"
    assert main([*words.split(), "--out", run]) == 0
    capsys.readouterr()
    assert main([command, run]) == 0
    out = capsys.readouterr().out
    assert "field of 256 training images, p_0 from hog" in out
    assert "kNN of the raw p_0 features: 0.9" in out
    assert (tmp_path / "run" / "field.png").is_file()
    picture = str(tmp_path / "few.png")
    options = ["--samples", "3", "--skip-start", "--out", picture]
    assert main([command, run, *options]) == 0
    assert "raw p_0" not in capsys.readouterr().out
    with Image.open(picture) as few, Image.open(f"{run}/field.png") as many:
        assert few.height < many.height
