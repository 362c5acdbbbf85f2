"""What fuzz.py attacks: readers of exported files and what lies beside them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")  # it would ask the network

import numpy as np
import onnx
from fuzz_content import DIM, SIZE, Target, as_json, at, target

from rkdo_plugin.export import EmbeddingSession
from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.export.file.external import move_weights_out
from rkdo_plugin.export.file.metadata import WEIGHTS_FILE, WEIGHTS_SHA256
from rkdo_plugin.export.file.model_file import read_model
from rkdo_plugin.export.file.seal import manifest, seal
from rkdo_plugin.export.runtime.providers import ProviderError
from rkdo_plugin.export.serving.triton.contract import contract
from rkdo_plugin.export.verification.report import Report
from rkdo_plugin.recipes.report.exports import read_found_export


def model_of(
    metadata: Mapping[str, str] = {}, dim: int = DIM
) -> tuple[Any, dict[str, str]]:
    """A graph that gives the mean of each channel, and more; and its metadata."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["embedding"]),
    ]
    weight = np.random.default_rng(0).normal(size=(3, dim)).astype(np.float32)
    tensors = {"axes": np.array([1, 2]), "w": weight}
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("image", 2, ["batch", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("embedding", 1, ["batch", dim])],
        [onnx.numpy_helper.from_array(each, name) for name, each in tensors.items()],
    )
    opsets = [helper.make_opsetid("", 18)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    values = {
        **{"image_size": str(SIZE), "any_size": "false", "channels": "3"},
        **{"mean": "[0.5, 0.5, 0.5]", "std": "[0.25, 0.25, 0.25]", "resize": "x"},
        **{"dim": str(dim), "normalize": "false", "precision": "fp32"},
    }
    return made, {f"rkdo.{key}": value for key, value in values.items()} | metadata


@target
def model(folder: Path) -> Target:
    """An exported file; its checksum covers every byte."""
    content, _ = seal(*model_of())
    return Target([content], at(folder / "x.onnx", read_model), guarded=True)


@target
def resealed(folder: Path) -> Target:
    """A file whose graph or metadata is another, with a checksum that holds."""
    made, described = model_of()
    graph = made.SerializeToString()

    def written(tree: Any) -> bytes:
        metadata, part = tree
        changed = onnx.load_model_from_string(bytes(part))
        return seal(changed, {key: str(value) for key, value in metadata.items()})[0]

    def read(path: Path) -> None:
        session = EmbeddingSession(path, "cpu", threads=1)
        shape = (2, *sides(session.image_size), session.channels)
        if np.prod(shape) < 2**20:
            assert session.embed(np.zeros(shape, np.uint8)).shape == (2, session.dim)

    trees = [[described, list(graph)], [described, list(graph)]]
    trees[1][1] = graph  # type: ignore[call-overload]  # no place of its own is bent
    read_file = at(folder / "x.onnx", read)
    return Target([], read_file, (ValueError, ProviderError), trees, written)


@target
def weights(folder: Path) -> Target:
    """The weights of a large model, in a file beside it."""
    made, described = model_of(dim=512)
    name, content = move_weights_out(made, "x.onnx")
    import hashlib

    described[WEIGHTS_FILE] = name
    described[WEIGHTS_SHA256] = hashlib.sha256(content).hexdigest()
    (folder / "x.onnx").write_bytes(seal(made, described)[0])
    read = at(folder / name, lambda _: read_model(folder / "x.onnx"))
    return Target([content], read, guarded=True)


@target
def checksums(folder: Path) -> Target:
    """The manifest beside an exported file."""
    content, _ = seal(*model_of())
    (folder / "x.onnx").write_bytes(content)
    seeds = [manifest({"x.onnx": content}, "verified")]
    read = at(folder / "x.onnx.sha256", lambda _: read_model(folder / "x.onnx"))
    return Target(seeds, read)


@target
def report(folder: Path) -> Target:
    """The verification beside an exported file."""
    content, digest = seal(*model_of())
    (folder / "x.onnx").write_bytes(content)
    made = Report(
        **{"failures": ("a",), "compared_with": "torch", "precision": "fp32"},
        **{"sha256": digest, "file_bytes": 9, "parameter_bytes": 9, "finite": True},
    )
    tree = json.loads(made.to_json())

    def read(path: Path) -> None:
        found = read_found_export(path.with_name("x.onnx"))
        if found.report is not None:
            str((found.report, found.report.passed, found.report.figures))

    return Target(
        [as_json(tree)],
        at(folder / "x.report.json", read),
        (ValueError,),
        [tree],
        as_json,
    )


@target
def triton(folder: Path) -> Target:
    """The configuration of a Triton model."""
    seeds = [
        b'name: "x"\ninput [{ name: "image" data_type: TYPE_UINT8 dims: [8, 8, 3] }]\n'
        b'output { name: "embedding" data_type: TYPE_FP32 dims: 6 }\n'
        b'parameters { key: "rkdo.normalize" value { string_value: "true" } }\n'
    ]

    def read(content: bytes) -> None:
        try:
            contract(content.decode("utf-8", "replace"))
        except ValueError as error:  # the caller names the file
            raise ValueError(f"Expected a configuration but got {error}") from error

    return Target(seeds, read)
