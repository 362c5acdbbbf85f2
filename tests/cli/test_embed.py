import subprocess
import sys

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


def test_embed_needs_little_memory(road, tmp_path):
    """Torch takes seconds and half a gigabyte; Arrow's allocator gives nothing back."""
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "a.png")
    words = ["embed", str(road / "encoder.onnx"), str(tmp_path), "vectors.parquet"]
    program = (
        "import sys; from rkdo_plugin.cli.main import main\n"
        f"assert main({words}) == 0\n"
        "assert not {'torch', 'sklearn', 'lightly'} & set(sys.modules)\n"
        "import pyarrow\n"
        "assert pyarrow.default_memory_pool().backend_name == 'system'"
    )
    command = [sys.executable, "-c", program]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)


def test_embed_strict_refuses_a_broken_image(road, tmp_path, capsys):
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    output = tmp_path / "out" / "vectors.parquet"
    output.parent.mkdir()
    words = ["embed", str(road / "encoder.onnx"), str(tmp_path), str(output)]
    assert main([*words, "--strict"]) == 1
    assert "not broken.png" in capsys.readouterr().err
    assert not output.exists()
