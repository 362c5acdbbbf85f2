"""Large weights lie beside the graph, and no other file is ever opened."""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from rkdo_plugin.export import EmbeddingSession, export_onnx
from rkdo_plugin.export.file.external import locations
from rkdo_plugin.export.file.seal import seal


@pytest.fixture
def apart(make_small, tmp_path, weights_beside):
    """An export whose weights are too many for one file."""
    export_onnx(make_small(), tmp_path / "large.onnx")
    return tmp_path / "large.onnx"


def weights_of(path):
    (weights,) = path.parent.glob("*.data")
    return weights


def test_large_weights_lie_in_one_file_beside_the_graph(apart, small_file, images):
    weights = weights_of(apart)
    assert apart.stat().st_size < 0.2 * small_file.stat().st_size
    assert locations(onnx.load(apart, load_external_data=False)) == {weights.name}
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert weights.name == f"large.onnx.{digest[:12]}.data"
    assert digest in (apart.parent / "large.onnx.sha256").read_text()
    onnx.checker.check_model(str(apart), full_check=True)
    np.testing.assert_array_equal(
        EmbeddingSession(apart).embed(images),
        EmbeddingSession(small_file).embed(images),
    )


def test_an_onnxruntime_without_weights_beside_a_graph_is_named(
    make_small, tmp_path, monkeypatch
):
    monkeypatch.setattr("rkdo_plugin.export.onnx.MAX_BYTES", 1000)
    monkeypatch.setattr("rkdo_plugin.export.runtime.providers.WEIGHTS_BESIDE", "none")
    with pytest.raises(RuntimeError, match=r"newer than 1.23 .* but got \d"):
        export_onnx(make_small(), tmp_path / "large.onnx")
    assert not [*tmp_path.iterdir()]


def test_newer_weights_replace_older_ones(apart, make_small):
    older = weights_of(apart)
    with pytest.raises(FileExistsError):
        export_onnx(make_small(seed=1), apart)
    assert weights_of(apart) == older
    export_onnx(make_small(seed=1), apart, overwrite=True)
    assert weights_of(apart) != older
    EmbeddingSession(apart)


def test_lost_changed_and_linked_weights_are_refused(apart):
    weights = weights_of(apart)
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="damaged but its sha256"):
        EmbeddingSession(apart)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="found no such file"):
        EmbeddingSession(apart)
    (apart.parent / "elsewhere").write_bytes(content)
    weights.symlink_to(apart.parent / "elsewhere")
    with pytest.raises(FileNotFoundError, match="a link"):
        EmbeddingSession(apart)


def place_in_initializer(model, tensor):
    model.graph.initializer[0].CopyFrom(tensor)


def place_in_attribute(model, tensor):
    node = onnx.helper.make_node("Constant", [], ["secret"], value=tensor)
    model.graph.node.append(node)


def place_in_subgraph(model, tensor):
    graph = onnx.helper.make_graph([], "then", [], [], initializer=[tensor])
    node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=graph)
    model.graph.node.append(node)


def place_in_function(model, tensor):
    constant = onnx.helper.make_node("Constant", [], ["secret"], value=tensor)
    model.functions.append(
        onnx.helper.make_function("acme", "f", [], ["secret"], [constant], [])
    )


@pytest.mark.parametrize(
    "place",
    [place_in_initializer, place_in_attribute, place_in_subgraph, place_in_function],
)
@pytest.mark.parametrize("location", ["../../etc/passwd", "/etc/passwd", "other.data"])
def test_no_tensor_may_lie_in_a_file_that_the_export_did_not_write(
    copied, place, location
):
    (copied.parent / "small.onnx.sha256").unlink()
    model = onnx.load(copied)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    tensor = TensorProto(name="t", dims=[4], data_type=TensorProto.UINT8)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    place(model, tensor)
    for recorded in ({}, {"rkdo.weights_file": location}):
        copied.write_bytes(seal(model, metadata | recorded)[0])
        with pytest.raises((ValueError, FileNotFoundError), match=location):
            EmbeddingSession(copied)


def test_weights_outside_the_file(small_file, tmp_path):
    model = onnx.load(small_file)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"are in \.\./\.\./etc/passwd|damaged"):
        EmbeddingSession(path)
