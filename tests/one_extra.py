"""What an extra is for, where no other extra is installed: `tox -m matrix` runs it.

python tests/one_extra.py ONLY-EXTRA FOLDER
"""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image


def rkdo(*words: object) -> None:
    """Run a command, which must succeed."""
    command = [sys.executable, "-m", "rkdo_plugin.cli", *map(str, words)]
    subprocess.run(command, check=True)


def heic(model: Path, folder: Path) -> None:
    import pillow_heif

    pixels = np.full((48, 48, 3), 200, dtype=np.uint8)
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(folder / "photo.heic")
    rkdo("embed", model, folder, folder / "heic.parquet")
    assert pq.read_table(folder / "heic.parquet")["path"].to_pylist() == ["photo.heic"]


def ray(model: Path, folder: Path) -> None:
    rkdo("embed", model, folder, folder / "by-ray", "--engine", "ray")
    assert (folder / "by-ray" / "part-00000.parquet").exists()


def report(model: Path, folder: Path) -> None:
    rkdo("report", folder / "run", "--out", folder / "report.html")
    assert "vega" in (folder / "report.html").read_text()


def search(model: Path, folder: Path) -> None:
    rkdo("embed", model, folder, folder / "vectors.parquet")
    rkdo("neighbours", folder / "vectors.parquet", folder / "photo.png")


def serve(model: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "rkdo_plugin.cli", "serve", str(model)]
    ports = ["--port", "0", "--grpc-port", "0"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, *ports], stderr=log)
    while '"serving"' not in (text := (folder / "log").read_text()):
        assert process.poll() is None, text
        time.sleep(0.1)
    port = json.loads(text.splitlines()[1])["port"]
    ready = f"http://127.0.0.1:{port}/v2/models/{model.stem}/ready"
    with urllib.request.urlopen(ready) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def timm(model: Path, folder: Path) -> None:
    run, name = folder / "of-timm", "timm:mobilenetv3_small_050"
    rkdo("train", "--encoder", name, "--epochs", 1, "--out", run)
    rkdo("export", run, folder / "timm.onnx")


def main(name: str, folder: Path) -> None:
    """Train and export with what is always there, then use the extra."""
    use = {each.__name__: each for each in (heic, ray, report, search, serve, timm)}
    rkdo("train", "--epochs", 1, "--out", folder / "run")
    rkdo("export", folder / "run", folder / "encoder.onnx")
    Image.fromarray(np.full((48, 48, 3), 90, dtype=np.uint8)).save(folder / "photo.png")
    use[name.removeprefix("only-")](folder / "encoder.onnx", folder)
    print(f"{name}: done")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
