"""What a configuration promises binds the versions that come later."""

import onnx
import pytest
from google.protobuf import text_format

from rkdo_plugin.export import export_onnx
from rkdo_plugin.export.file.seal import seal
from rkdo_plugin.export.serving.triton.contract import contract


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dims: 96", "dims: [ 128 ]"),
        ('name: "image"', 'name: "input_0"'),
        ("data_type: TYPE_FP32", "data_type: TYPE_FP16"),
        ('"PIL bilinear', '"PIL bicubic'),
        ('name: "encoder"', "{"),
    ],
)
def test_a_configuration_of_other_promises(write, tmp_path, old, new):
    config = write().folder.parent / "config.pbtxt"
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"config\.pbtxt"):
        write()
    assert not (config.parent / "2").exists()


def test_embeddings_that_stop_being_unit_vectors_are_refused(
    write, small_file, tmp_path
):
    write()
    model = onnx.load(small_file)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    other = tmp_path / "other.onnx"
    other.write_bytes(seal(model, metadata | {"rkdo.normalize": "false"})[0])
    with pytest.raises(
        ValueError, match=r"`rkdo\.normalize` to be true, .* but got false"
    ):
        write(other)


def test_nvidias_own_spelling_of_a_configuration_is_read(
    write, nvidia, parsed, make_small, tmp_path
):
    config = write(tensorrt=True).folder.parent / "config.pbtxt"
    config.write_text(
        text_format.MessageToString(parsed(), use_short_repeated_primitives=True)
    )
    export_onnx(make_small(seed=1), tmp_path / "second.onnx")
    assert write(tmp_path / "second.onnx").folder.name == "2"


def test_what_a_configuration_does_not_mention_is_not_promised():
    assert contract("") == {}
    text = 'input { name: "image" data_type: TYPE_UINT8 dims: [ 16, 16, 3 ] }'
    parameter = 'parameters { key: "KEY" value { string_value: "x" } } backend: "any"'
    mine = parameter.replace("KEY", "rkdo.resize")
    assert contract(f"{text} {mine} {parameter}") == {
        "input": "image TYPE_UINT8 [16, 16, 3]",
        "rkdo.resize": "x",
    }
