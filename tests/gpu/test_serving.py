"""TensorRT where its libraries load, and NVIDIA's server where it is installed."""

import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from dataclasses import replace

import numpy as np
import pytest
from lived_in import MEAN, STD, in_float64, lived_in

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from rkdo_plugin import create_encoder
from rkdo_plugin.export import (
    EmbeddingSession,
    Encoder,
    TensorRTSettings,
    export_onnx,
    write_triton_repository,
)
from rkdo_plugin.export.encoder.images import sample_images
from rkdo_plugin.export.runtime.trial import trial
from rkdo_plugin.export.verification.distances import distances
from rkdo_plugin.export.verification.gates import GATES

pytestmark = pytest.mark.gpu

SERVER = "tritonserver"
START_SECONDS = 120

# In a process of its own, before whose start TF32 is switched off.
EMBED = """
import sys
from pathlib import Path
import numpy as np
from rkdo_plugin.export import EmbeddingSession, TensorRTSettings

path, cache, images, out = sys.argv[1:]
session = EmbeddingSession(path, TensorRTSettings(max_batch=64, cache=Path(cache)))
np.save(out, session.embed(np.load(images)))
"""


@pytest.fixture(scope="module")
def encoder():
    backbone = lived_in(create_encoder("small-convnet"))
    return Encoder(backbone, image_size=32, mean=MEAN, std=STD)


@pytest.fixture(scope="module")
def files(encoder, tmp_path_factory):
    folder, written = tmp_path_factory.mktemp("exported"), {}
    for precision in ("fp32", "fp16"):
        written[precision] = folder / f"{precision}.onnx"
        export_onnx(encoder, written[precision], precision=precision)
    return written


@pytest.fixture(scope="module")
def tensorrt(on_gpu, tmp_path_factory):
    """TensorRT's settings; asked for before `files`, which take longer."""
    reason = trial("tensorrt") if on_gpu else "this is --device cpu"
    if reason is not None:
        pytest.skip(f"needs TensorRT, but {reason}")
    return TensorRTSettings(max_batch=64, cache=tmp_path_factory.mktemp("engines"))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_is_within_the_gates(tensorrt, files, encoder, precision, tmp_path):
    images = sample_images(43, 32, 3)
    np.save(tmp_path / "images.npy", images)
    names = [files[precision], tensorrt.cache, "images.npy", "found.npy"]
    child = subprocess.run(
        [sys.executable, "-c", EMBED, *map(str, names)],
        env=os.environ | {"NVIDIA_TF32_OVERRIDE": "0"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stdout + child.stderr
    found = np.load(tmp_path / "found.npy").astype(np.float64)
    apart, gate = distances(in_float64(encoder, images), found), GATES[precision]
    assert apart.max_abs <= gate.max_abs
    assert apart.one_minus_cosine.max() <= gate.max_one_minus_cosine
    assert apart.max_norm_error <= gate.max_norm_error


def test_a_second_session_takes_the_first_ones_engines(tensorrt, files):
    images = sample_images(9, 32, 3)
    first = EmbeddingSession(files["fp32"], tensorrt).embed(images)
    engines = {p: p.stat().st_mtime_ns for p in tensorrt.cache.rglob("*.engine")}
    assert engines
    second = EmbeddingSession(files["fp32"], replace(tensorrt)).embed(images)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-5)
    assert engines == {path: path.stat().st_mtime_ns for path in engines}


@pytest.fixture(scope="module")
def program():
    """NVIDIA's server; asked for before `files`, which take longer."""
    if shutil.which(SERVER) is None:
        pytest.skip(f"needs {SERVER} on the path")
    return SERVER


@pytest.fixture
def server(program, files, tmp_path, on_gpu):
    """The address of NVIDIA's server with the float32 file; ready when it says so."""
    device = "gpu" if on_gpu else "cpu"
    write_triton_repository(files["fp32"], tmp_path / "models", device=device)
    command = [program, f"--model-repository={tmp_path / 'models'}"]
    ports = ("http-port=18000", "grpc-port=18001", "metrics-port=18002")
    process = subprocess.Popen(
        [*command, *(f"--{port}" for port in ports), "--exit-on-error=true"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"NVIDIA_TF32_OVERRIDE": "0"},
    )
    too_long = threading.Timer(START_SECONDS, process.kill)
    too_long.start()
    log = []
    try:
        for line in process.stdout:  # ends with the process
            log.append(line)
            if "Started HTTPService" in line:
                break
        else:
            pytest.fail("".join(log[-40:]))
        too_long.cancel()
        yield "http://127.0.0.1:18000"
    finally:
        too_long.cancel()
        process.kill()
        process.wait()


def test_nvidias_server_takes_the_repository_and_embeds(server, encoder):
    images = sample_images(5, 32, 3)
    tensor = {
        "name": "image",
        "datatype": "UINT8",
        "shape": list(images.shape),
        "data": images.flatten().tolist(),
    }
    request = urllib.request.Request(
        f"{server}/v2/models/encoder/infer",
        json.dumps({"inputs": [tensor]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        (output,) = json.load(answer)["outputs"]
    found = np.array(output["data"]).reshape(output["shape"])
    expected = in_float64(encoder, images)
    assert np.abs(found - expected).max() <= 1e-5
