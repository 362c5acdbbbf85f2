"""Try in a process of its own whether a provider loads and computes."""

import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from rkdo_plugin.export.file.metadata import INPUT, OUTPUT
from rkdo_plugin.export.graph.build import MAX_IR_VERSION, OPSET
from rkdo_plugin.export.runtime.providers import ProviderError, open_session
from rkdo_plugin.export.runtime.settings import (
    Provider,
    TensorRTSettings,
    settings_of,
)

SECONDS = 300  # time limit; TensorRT builds an engine in it

PROGRAM = (
    "import sys\n"
    "from rkdo_plugin.export.runtime.trial import run_tiny\n"
    "run_tiny(sys.argv[1])"
)

# What onnxruntime logs about a library that it cannot load.
NOT_LOADED = re.compile(r"with error: ([^:\s]+): cannot open shared object file")


def trial(provider: str) -> str | None:
    """Try to load a provider and to run a tiny model on it.

    Args:
        provider: "cpu", "cuda" or "tensorrt".

    Returns:
        The reason why it failed. None if it worked.
    """
    try:
        # In an empty folder: Python imports from the current folder first.
        with tempfile.TemporaryDirectory() as folder:
            child = subprocess.run(
                [sys.executable, "-c", PROGRAM, provider],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
                cwd=folder,
            )
    except subprocess.TimeoutExpired:
        return f"it gave no answer within {SECONDS} s"
    if child.returncode == 0:
        return None
    not_loaded = NOT_LOADED.search(child.stderr)
    if not_loaded is not None:
        return f"{not_loaded[1]} is not found"
    last = (child.stdout.strip() or child.stderr.strip()).rpartition("\n")[2]
    return last or f"the process ended with status {child.returncode}"


def run_tiny(provider: Provider) -> None:
    """Run a tiny graph on a provider. If that fails, print the reason and exit.

    Args:
        provider: "cpu", "cuda" or "tensorrt".
    """
    with tempfile.TemporaryDirectory() as engines:
        settings = settings_of(provider)
        if isinstance(settings, TensorRTSettings):
            settings = replace(settings, cache=Path(engines))
        try:
            session = open_session(tiny_model(), settings, (2, 2, 3))
        except ProviderError as error:
            print(error.reason)
            sys.exit(1)
    (found,) = session.run([OUTPUT], {INPUT: np.ones((1, 2, 2, 3), np.uint8)})
    if not (found == 2).all():
        print(f"it computed 1 + 1 = {found.flat[0]}")
        sys.exit(1)


def tiny_model() -> bytes:
    """Make an ONNX file that doubles images (B, 2, 2, 3)."""
    shape: list[int | str] = ["batch", 2, 2, 3]
    nodes = [
        helper.make_node("Cast", [INPUT], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["pixels", "pixels"], [OUTPUT]),
    ]
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape)]
    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=MAX_IR_VERSION)
    return bytes(model.SerializeToString())
