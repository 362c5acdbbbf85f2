"""A process of `rkdo serve` to send requests to, and how one looks."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Headers = dict[str, str]
Body = tuple[bytes, Headers]
EXPORT = """
import sys, torch
from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder, export_onnx
torch.manual_seed(0)
for name, size in (("small-convnet", 32), ("resnet18", 224)):
    encoder = Encoder(create_encoder(name), image_size=size, mean=[.5]*3, std=[.25]*3)
    export_onnx(encoder, f"{sys.argv[1]}/{name}.onnx")
"""


def exported(folder: str) -> tuple[Path, Path]:
    """Export a small and a large encoder, with random weights."""
    subprocess.run([sys.executable, "-c", EXPORT, folder], check=True)
    return Path(folder, "small-convnet.onnx"), Path(folder, "resnet18.onnx")


@contextlib.contextmanager
def served(model: Path) -> Iterator[tuple[int, int, int]]:
    """Run `rkdo serve` and yield its two ports and its process."""
    process, ports = started(model)
    try:
        yield *ports, process.pid
        process.send_signal(signal.SIGTERM)
        if process.wait(60) != 0:
            raise RuntimeError(f"exit {process.returncode}")
    finally:
        process.kill()
    failures = [
        line
        for line in (model.parent / "log").read_text().splitlines()
        if json.loads(line)["level"] != "INFO"
    ]
    print(f"lines of warnings or errors in the log: {len(failures)}", *failures[:2])


def started(
    model: Path, port: int = 0, rpc_port: int = 0
) -> tuple[subprocess.Popen[bytes], tuple[int, int]]:
    """Start `rkdo serve`, on free ports by default; its process and its two ports."""
    words = f"serve {model} --port {port} --grpc-port {rpc_port} --provider cpu".split()
    command = [sys.executable, "-m", "rkdo_plugin.cli", *words]
    with (model.parent / "log").open("w") as log:
        process = subprocess.Popen(command, stderr=log)
    while '"serving"' not in (text := (model.parent / "log").read_text()):
        if process.poll() is not None:
            raise RuntimeError(text)
        time.sleep(0.1)
    fields = json.loads(text.splitlines()[1])
    return process, (fields["port"], fields["grpc_port"])


def binary(array: NDArray[np.uint8], raw: bool = False, **changed: object) -> Body:
    """A request in the binary form, with changed fields of its input.

    With `raw` the answer is to be binary, too.
    """
    parameters = {"binary_data_size": array.size}
    tensor = {"name": "image", "datatype": "UINT8", "shape": array.shape}
    tensor |= {"parameters": parameters, **changed}
    whole = {"inputs": [tensor], "parameters": {"binary_data_output": raw}}
    head = json.dumps(whole).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    return head + array.tobytes(), length
