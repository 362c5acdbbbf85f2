"""A changed byte shows, by the checksum in the file and by its manifest."""

import hashlib
import shutil
import subprocess

import numpy as np
import onnx
import pytest

from rkdo_plugin.export import EmbeddingSession
from rkdo_plugin.export.file.seal import seal


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


def test_a_manifest_that_is_no_text_refuses_the_file(copied):
    (copied.parent / "small.onnx.sha256").write_bytes(b"\xff\n\n# \nabc\n")
    with pytest.raises(ValueError, match="its manifest does not list"):
        EmbeddingSession(copied)


def test_every_flipped_bit_of_a_weight_is_detected(small_file, tmp_path):
    original = small_file.read_bytes()
    weights = onnx.load(small_file).graph.initializer[1].raw_data
    start = original.index(weights)
    for place in np.linspace(start, start + len(weights) - 1, 9).astype(int):
        content = bytearray(original)
        content[place] ^= 1 << int(place) % 8
        (tmp_path / "flipped.onnx").write_bytes(content)
        with pytest.raises(ValueError, match="damaged"):
            EmbeddingSession(tmp_path / "flipped.onnx")
