"""Put the host's resize into the graph, for servers that get pictures of any size.

TensorRT has no antialiased resize. For TensorRT resize on the host, as by default.
"""

import onnx
from onnx import parser

from rkdo_plugin.export.file.metadata import INPUT

# The same as `images.resize`. The longer side is rounded down. The offset of the crop
# is rounded, halves to the even number. Pixels beyond the border have no weight, as in
# PIL.
STEPS = """
resize (uint8[batch, height, width, CHANNELS] image)
    => (uint8[batch, SIZE, SIZE, CHANNELS] resize_image)
<
    int64[1] resize_size = {SIZE}, int64[2] resize_axes = {2, 3},
    float resize_half = {0.5}
>
{
    resize_planes = Transpose <perm = [0, 3, 1, 2]> (image)
    resize_planes_shape = Shape <start = 0, end = 2> (resize_planes)
    resize_sides = Shape <start = 2> (resize_planes)
    resize_shorter = ReduceMin <keepdims = 1> (resize_sides)
    resize_scaled = Mul (resize_sides, resize_size)
    resize_new_sides = Div (resize_scaled, resize_shorter)
    resize_new_shape = Concat <axis = 0> (resize_planes_shape, resize_new_sides)
    resize_whole = Resize <mode = "linear", antialias = 1, exclude_outside = 1> (
        resize_planes, , , resize_new_shape)
    resize_surplus = Sub (resize_new_sides, resize_size)
    resize_surplus_float = Cast <to = 1> (resize_surplus)
    resize_middle = Mul (resize_surplus_float, resize_half)
    resize_rounded = Round (resize_middle)
    resize_start = Cast <to = 7> (resize_rounded)
    resize_end = Add (resize_start, resize_size)
    resize_crop = Slice (resize_whole, resize_start, resize_end, resize_axes)
    resize_image = Transpose <perm = [0, 2, 3, 1]> (resize_crop)
}
"""


def with_resize(
    model: onnx.ModelProto, image_size: int, channels: int
) -> onnx.ModelProto:
    """Put the resize and the centre crop in front of an encoder's graph.

    Pixels are within one grey level of `images.resize`, which is PIL's. In photographs
    at most 2 values of 100 differ. The graph gets two Shape nodes.

    Args:
        model: An encoder's graph, which takes images uint8 (batch, S, S, C).
        image_size: S, in pixels.
        channels: C.

    Returns:
        A copy whose input has the same name and takes images uint8 (batch, height,
        width, C). The images of a batch all have the same size, which may be any.

    Raises:
        ValueError: The graph does not take images of size S and C channels.
    """
    (image,) = model.graph.input
    shape = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    if image.name != INPUT or shape[1:] != [image_size, image_size, channels]:
        raise ValueError(
            f"Expected a graph with input `{INPUT}` (batch, {image_size}, "
            f"{image_size}, {channels}) but got `{image.name}` "
            f"({', '.join(map(str, shape))})"
        )
    text = STEPS.replace("SIZE", str(image_size)).replace("CHANNELS", str(channels))
    steps = parser.parse_graph(text)
    resized = onnx.ModelProto()
    resized.CopyFrom(model)
    for node in resized.graph.node:
        for number, name in enumerate(node.input):
            if name == INPUT:
                node.input[number] = steps.output[0].name
    nodes = [*steps.node, *resized.graph.node]
    del resized.graph.node[:]
    resized.graph.node.extend(nodes)
    resized.graph.initializer.extend(steps.initializer)
    resized.graph.input[0].CopyFrom(steps.input[0])
    return resized
