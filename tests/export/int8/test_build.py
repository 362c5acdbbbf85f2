"""Mixed graphs, their ranges, layers and damages, against what others compute."""

import numpy as np
import onnx
import pytest
import torchvision
from int8_graphs import outputs
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from photographs import crops

from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder
from rkdo_plugin.export.graph.build import strip, to_graph
from rkdo_plugin.export.int8.build import mixed, prepared, quantised
from rkdo_plugin.export.int8.damage import IMAGES, damages
from rkdo_plugin.export.int8.layers import SUMS, layers_of, nodes_of, share
from rkdo_plugin.export.int8.ranges import MIN_MAX, extremes, from_histograms
from rkdo_plugin.export.int8.styles import OPERATORS, plain, style_of

STYLE = style_of("int8")


class Batches(CalibrationDataReader):
    def __init__(self, images):
        self.batches = iter(np.split(images, range(16, len(images), 16)))

    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {"image": batch}


def by_onnxruntime(graph, images, folder, nodes=None):
    """The graph that onnxruntime's own quantiser makes in one go."""
    onnx.save_model(graph, folder / "float32.onnx")
    quantize_static(
        folder / "float32.onnx",
        folder / "int8.onnx",
        Batches(images),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(OPERATORS),
        nodes_to_quantize=nodes,
        per_channel=True,
        reduce_range=STYLE.reduce_range,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return onnx.load_model(folder / "int8.onnx")


@pytest.fixture(scope="module")
def ranges(chain_graph, calibration):
    return extremes(chain_graph, OPERATORS, calibration)


def test_plain_graphs_have_the_bytes_that_onnxruntime_writes(
    chain_graph, calibration, ranges, tmp_path
):
    expected = by_onnxruntime(chain_graph, calibration, tmp_path)
    strip(expected)
    made = plain(chain_graph, ranges[MIN_MAX], STYLE)
    assert made.SerializeToString() == expected.SerializeToString()


def test_extremes_are_those_of_all_images_or_the_mean_of_the_batches(
    chain_graph, calibration, ranges
):
    name = next(n.output[0] for n in chain_graph.graph.node if n.op_type == "Relu")
    shown = onnx.ModelProto()
    shown.CopyFrom(chain_graph)
    shown.graph.output.append(onnx.ValueInfoProto(name=name))
    tops = [
        outputs(shown, batch, [name])[0].max()
        for batch in np.split(calibration, range(16, 48, 16))
    ]
    assert ranges[MIN_MAX][name].highest == max(tops)
    assert ranges["moving average"][name].highest == pytest.approx(np.mean(tops))


def test_histograms_leave_rare_values_out(chain_graph, calibration):
    found = dict(from_histograms(chain_graph, OPERATORS, calibration[:32]))
    name = next(n.output[0] for n in chain_graph.graph.node if n.op_type == "Conv")
    shown = onnx.ModelProto()
    shown.CopyFrom(chain_graph)
    shown.graph.output.append(onnx.ValueInfoProto(name=name))
    (values,) = outputs(shown, calibration[:32], [name])
    step = 2 * float(np.abs(values).max()) / 256  # bins may have become wider once
    for percentile in (99.999, 99.99):
        outside = (100 - percentile) / 2
        ends = np.percentile(values, [outside, 100 - outside])
        got = found[f"percentile {percentile}"][name]
        assert got.lowest == pytest.approx(ends[0], abs=step)
        assert got.highest == pytest.approx(ends[1], abs=step)
    entropy = found["entropy"][name]
    assert values.min() <= entropy.lowest < entropy.highest <= values.max()


def test_a_graph_with_all_layers_in_float32_computes_the_same_bits(
    residual_graph, calibration
):
    ranges = extremes(residual_graph, OPERATORS, calibration)[MIN_MAX]
    everything = [node.name for node in residual_graph.graph.node]
    made = mixed(residual_graph, ranges, STYLE, without=everything)
    images = crops(5, 16, seed=3)
    np.testing.assert_array_equal(
        outputs(made, images)[0], outputs(residual_graph, images)[0]
    )
    assert not any(n.op_type == "QuantizeLinear" for n in made.graph.node)


def test_sums_in_float32_read_each_other_unrounded(residual_graph, calibration):
    ranges = extremes(residual_graph, OPERATORS, calibration)[MIN_MAX]
    layers = layers_of(residual_graph, OPERATORS, calibration[:1])
    sums = next(layer for layer in layers if layer.name == SUMS)
    assert len(sums.nodes) == 6 and sums.multiply_adds == 0  # Add and Relu, three times
    images = crops(8, 16, seed=3)
    expected = outputs(residual_graph, images)[0]

    def error(build):
        found = outputs(
            build(residual_graph, ranges, STYLE, without=sums.nodes), images
        )
        return np.abs(found[0] - expected).mean()

    made = mixed(residual_graph, ranges, STYLE, without=sums.nodes)
    made_by = {name: node for node in made.graph.node for name in node.output}
    adds = [node for node in made.graph.node if node.op_type == "Add"]
    sources = [{made_by[name].op_type for name in node.input} for node in adds]
    # The first adds what the stem returns, which is an integer layer's.
    assert sources[0] == {"DequantizeLinear"}
    assert sources[1:] == [{"Relu", "DequantizeLinear"}] * 2
    assert error(mixed) < error(quantised)


def test_damage_is_that_of_a_graph_with_one_integer_layer(
    chain_graph, calibration, ranges, tmp_path
):
    layers = layers_of(chain_graph, OPERATORS, calibration[:1])
    harm = damages(chain_graph, ranges[MIN_MAX], STYLE, layers, calibration)
    few = calibration[:: len(calibration) // IMAGES]
    expected = outputs(chain_graph, few)[0].astype(np.float64)
    for place in (0, 2):
        alone = by_onnxruntime(
            chain_graph, calibration, tmp_path, list(layers[place].nodes)
        )
        found = outputs(alone, few)[0].astype(np.float64)
        naive = np.mean(1 - (found * expected).sum(axis=1))
        assert harm[place] == pytest.approx(naive, rel=0.05, abs=1e-7)
    assert set(np.argsort(-harm)[:2]) == {2, 3}  # around the outlier


def test_multiply_adds_are_those_that_torchvision_publishes():
    backbone = create_encoder("torchvision:mobilenet_v3_small")
    encoder = Encoder(backbone, image_size=224, mean=[0.5] * 3, std=[0.5] * 3)
    graph = prepared(to_graph(encoder))
    layers = layers_of(graph, OPERATORS, np.zeros((1, 224, 224, 3), np.uint8))
    found = sum(layer.multiply_adds for layer in layers)
    published = torchvision.models.MobileNet_V3_Small_Weights.DEFAULT.meta["_ops"]
    last_layer = 1000 * encoder.dim  # which encoders lack
    assert (found + last_layer) / 1e9 == pytest.approx(published, abs=5e-4)
    assert share(layers, layers) == 1 and share(layers, []) == 0


def test_graphs_for_tensorrt_are_symmetric_and_round_what_products_read(
    residual_graph, calibration
):
    style = style_of("int8-tensorrt")
    ranges = extremes(residual_graph, style.operators, calibration)[MIN_MAX]
    made = plain(residual_graph, ranges, style)
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}
    made_by = {name: node for node in made.graph.node for name in node.output}
    for node in made.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = tensors[node.input[2]]
            assert zero.dtype == np.int8 and not zero.any()
        elif node.op_type == "Conv":
            read = [made_by.get(name) for name in node.input]
            assert [each and each.op_type for each in read] == [
                "DequantizeLinear",
                "DequantizeLinear",
                None,  # the bias stays in float32
            ]
        elif node.op_type == "Add":  # in float32, as what it returns
            assert {made_by[name].op_type for name in node.input} <= {"Conv", "Relu"}
    assert nodes_of([]) == []
