"""NVIDIA's own message reads the configuration that is written."""

import onnx
import pytest
from google.protobuf import text_format

from rkdo_plugin.export import EmbeddingSession
from rkdo_plugin.export.file.metadata import PRECISION
from rkdo_plugin.export.file.seal import seal
from rkdo_plugin.export.serving.triton.config import to_text


def test_nvidias_own_message_reads_the_configuration(write, parsed, nvidia, small_file):
    write()
    metadata = EmbeddingSession(small_file, provider="cpu").metadata
    expected = nvidia.ModelConfig(
        name="encoder",
        backend="onnxruntime",
        default_model_filename="model.onnx",
        max_batch_size=256,
        input=[{"name": "image", "data_type": "TYPE_UINT8", "dims": [16, 16, 3]}],
        output=[{"name": "embedding", "data_type": "TYPE_FP32", "dims": [96]}],
        version_policy={"latest": {"num_versions": 1}},
        instance_group=[{"kind": "KIND_GPU", "count": 1}],
        dynamic_batching={
            "preferred_batch_size": [8, 32],
            "max_queue_delay_microseconds": 1000,
        },
    )
    for batch in (1, 8, 32):
        warmup = expected.model_warmup.add(name=f"batch of {batch}", batch_size=batch)
        image = warmup.inputs["image"]
        image.data_type, image.random_data = nvidia.TYPE_UINT8, True
        image.dims.extend([16, 16, 3])
    for key, value in (metadata | {"cudnn_conv_algo_search": "1"}).items():
        expected.parameters[key].string_value = value
    assert parsed() == expected


def test_every_option_reaches_the_configuration(write, parsed, nvidia):
    write(
        name="maps.v2",
        max_batch_size=64,
        batches=[64, 1, 4, 4],
        max_queue_delay_microseconds=0,
        device="cpu",
        instances=3,
        serve_versions=2,
    )
    config = parsed("maps.v2")
    assert (config.name, config.max_batch_size) == ("maps.v2", 64)
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 64]
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    assert [warmup.batch_size for warmup in config.model_warmup] == [1, 4, 64]
    (group,) = config.instance_group
    assert (group.kind, group.count) == (nvidia.ModelInstanceGroup.KIND_CPU, 3)
    assert config.version_policy.latest.num_versions == 2
    assert all(key.startswith("rkdo.") for key in config.parameters)


def test_tensorrt_covers_every_batch_with_one_engine_and_no_precision(write, parsed):
    write(tensorrt=True, max_batch_size=64, batches=(1, 16))
    accelerators = parsed().optimization.execution_accelerators
    (accelerator,) = accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert dict(accelerator.parameters) == {
        "trt_profile_min_shapes": "image:1x16x16x3",
        "trt_profile_opt_shapes": "image:16x16x16x3",
        "trt_profile_max_shapes": "image:64x16x16x3",
    }


def test_tensorrt_is_allowed_the_8_bits_of_a_graph(write, parsed, small_file, tmp_path):
    exported = onnx.load(small_file)
    metadata = {entry.key: entry.value for entry in exported.metadata_props}
    model = tmp_path / "int8.onnx"
    model.write_bytes(seal(exported, metadata | {PRECISION: "int8-tensorrt"})[0])
    write(model, name="int8", tensorrt=True)
    accelerators = parsed("int8").optimization.execution_accelerators
    (accelerator,) = accelerators.gpu_execution_accelerator
    assert accelerator.parameters["precision_mode"] == "INT8"


def test_sizes_that_are_dynamic_in_the_graph(write, parsed, small_file, tmp_path):
    exported = onnx.load(small_file)
    for dim in exported.graph.input[0].type.tensor_type.shape.dim[1:3]:
        dim.dim_param = "side"
    model = tmp_path / "any-size.onnx"
    metadata = {entry.key: entry.value for entry in exported.metadata_props}
    model.write_bytes(seal(exported, metadata)[0])
    write(model)
    config = parsed()
    assert list(config.input[0].dims) == [-1, -1, 3]
    assert list(config.model_warmup[0].inputs["image"].dims) == [16, 16, 3]
    with pytest.raises(
        ValueError, match=r"`tensorrt` to be off, .*images have one size"
    ):
        write(model, tensorrt=True)


@pytest.mark.parametrize("text", ['a "quoted" \\ word', "two\nlines", "größer", "\x01"])
def test_any_text_survives_the_format(nvidia, text):
    config = to_text({"parameters": {"key": "k", "value": {"string_value": text}}})
    read = text_format.Parse(config, nvidia.ModelConfig())
    assert read.parameters["k"].string_value == text


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", ".hidden", "-x", "two words", "ä", "a\n"]
)
def test_a_name_that_is_no_folder_of_tritons(write, tmp_path, name):
    with pytest.raises(ValueError, match="Expected `name`"):
        write(name=name)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch_size": 0}, "`max_batch_size` to be at least 1 but got 0"),
        ({"batches": (1, 300)}, r"from 1 to 256.*\[1, 300\]"),
        ({"batches": (0, 8)}, r"from 1 to 256.*\[0, 8\]"),
        ({"batches": ()}, "from 1 to 256"),
        ({"max_queue_delay_microseconds": -1}, "at least 0 but got -1"),
        ({"instances": 0}, "`instances` to be at least 1"),
        ({"serve_versions": 0}, "`serve_versions` to be at least 1"),
        ({"device": "tpu"}, "'gpu' or 'cpu' but got 'tpu'"),
        (
            {"device": "cpu", "tensorrt": True},
            "`tensorrt` to be off, unless `device` is 'gpu'",
        ),
    ],
)
def test_an_option_that_triton_would_refuse(write, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        write(**options)
    assert not (tmp_path / "models").exists()
