"""What was exported is what is loaded, byte for byte, and nothing else is opened."""

import hashlib
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from rkdo_plugin.export import EmbeddingSession, export_onnx, model_file
from rkdo_plugin.export.file.external import locations
from rkdo_plugin.export.file.seal import seal


@pytest.fixture
def copied(small_file, tmp_path):
    """A copy of an export, with its manifest."""
    for name in ("small.onnx", "small.onnx.sha256"):
        shutil.copy(small_file.with_name(name), tmp_path)
    return tmp_path / "small.onnx"


def test_a_flipped_bit_anywhere_is_found(copied):
    (copied.parent / "small.onnx.sha256").unlink()
    original = copied.read_bytes()
    for place in np.linspace(0, len(original) - 1, 40).astype(int):
        content = bytearray(original)
        content[place] ^= 1
        copied.write_bytes(content)
        with pytest.raises(ValueError, match=r"small\.onnx"):
            EmbeddingSession(copied)


def test_the_manifest_is_one_that_sha256sum_checks(copied):
    listed = (copied.parent / "small.onnx.sha256").read_text().splitlines()
    remarks = [line for line in listed if line.startswith("# ")]
    assert remarks[0].startswith("# fp32 against its encoder")
    digest = hashlib.sha256(copied.read_bytes()).hexdigest()
    assert [line for line in listed if line not in remarks] == [f"{digest}  small.onnx"]
    if shutil.which("sha256sum"):
        done = subprocess.run(
            ["sha256sum", "--check", "--strict", "small.onnx.sha256"],
            cwd=copied.parent,
            check=False,
        )
        assert done.returncode == 0


def test_a_file_that_its_manifest_does_not_list_is_refused(copied, small_file):
    model = onnx.load(copied)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    model.graph.node[0].name = "another"
    copied.write_bytes(seal(model, metadata)[0])
    with pytest.raises(ValueError, match="its manifest does not list"):
        EmbeddingSession(copied)
    (copied.parent / "small.onnx.sha256").unlink()
    EmbeddingSession(copied)


def test_a_file_may_be_renamed_with_its_manifest(copied):
    renamed = copied.rename(copied.with_name("another.onnx"))
    copied.with_name("small.onnx.sha256").rename(f"{renamed}.sha256")
    EmbeddingSession(renamed)


def test_a_file_that_never_stays_the_same_is_given_up(copied, monkeypatch):
    contents = (bytes([number]) for number in range(100))
    monkeypatch.setattr(type(copied), "read_bytes", lambda _: next(contents))
    with pytest.raises(ValueError, match="is not an ONNX file"):
        EmbeddingSession(copied)
    assert next(contents)[0] < 10


def test_a_manifest_that_is_no_text_refuses_the_file(copied):
    (copied.parent / "small.onnx.sha256").write_bytes(b"\xff\n\n# \nabc\n")
    with pytest.raises(ValueError, match="its manifest does not list"):
        EmbeddingSession(copied)


EXPORT = """
import sys, torch
from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder, export_onnx
torch.manual_seed(0)
encoder = Encoder(
    create_encoder("small-convnet"), image_size=16, mean=[.5] * 3, std=[.5] * 3
)
export_onnx(encoder, sys.argv[1])
"""


def test_two_processes_write_equal_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", EXPORT, tmp_path / name / "e.onnx"]
        subprocess.run(command, check=True, cwd=tmp_path / name)
    for name in ("e.onnx", "e.onnx.sha256"):
        assert (tmp_path / "a" / name).read_bytes() == (
            tmp_path / "b" / name
        ).read_bytes()


@pytest.fixture
def apart(make_small, tmp_path, monkeypatch):
    """An export whose weights are too many for one file."""
    monkeypatch.setattr("rkdo_plugin.export.onnx.MAX_BYTES", 1000)
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
    with pytest.raises(ValueError, match="damaged: its sha256"):
        EmbeddingSession(apart)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="not there"):
        EmbeddingSession(apart)
    (apart.parent / "elsewhere").write_bytes(content)
    weights.symlink_to(apart.parent / "elsewhere")
    with pytest.raises(FileNotFoundError, match="a link"):
        EmbeddingSession(apart)


@pytest.mark.parametrize("large", [False, True])
def test_a_file_that_is_replaced_while_it_is_read(
    large, make_small, images, tmp_path, monkeypatch
):
    """Between the model and what lies beside it: its weights, or its manifest."""
    path = tmp_path / "encoder.onnx"
    if large:
        monkeypatch.setattr("rkdo_plugin.export.onnx.MAX_BYTES", 1000)
    export_onnx(make_small(), path)
    older, step = path.read_bytes(), "_read_weights" if large else "broken_manifest"
    real = getattr(model_file, step)

    def replaced(*arguments):
        monkeypatch.setattr(model_file, step, real)
        export_onnx(make_small(seed=1), path, overwrite=True)
        return real(*arguments)

    monkeypatch.setattr(model_file, step, replaced)
    session = EmbeddingSession(path)
    assert path.read_bytes() != older
    expected = EmbeddingSession(path).embed(images)
    np.testing.assert_array_equal(session.embed(images), expected)


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


def test_loading_runs_no_pickle(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    import pickle

    (tmp_path / "model.onnx").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r"not an ONNX file|metadata has no"):
        EmbeddingSession(tmp_path / "model.onnx")
    assert not (tmp_path / "ran").exists()
