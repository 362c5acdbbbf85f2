import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from rkdo_plugin.cli.main import main


def test_embed_lists_unreadable_images_and_goes_on(road, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"no image")
    output = tmp_path / "vectors.parquet"
    words = ["embed", str(road / "encoder.onnx"), str(tmp_path), str(output)]
    assert main(words) == 0
    assert "broken.png" in capsys.readouterr().out
    assert pq.read_table(output)["path"].to_pylist() == ["a.png", "b.png"]
    assert main(words) == 1
    assert "vectors.parquet" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
