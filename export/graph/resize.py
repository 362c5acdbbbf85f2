"""Put the host's resize into the graph, for servers that get pictures of any size.

TensorRT has no antialiased resize. For TensorRT resize on the host, as by default.
"""

import onnx
from onnx import parser

from rkdo_plugin.export.encoder.image_size import ImageSize, sides
from rkdo_plugin.export.file.metadata import INPUT

# The same as `images.resize`. The picture is scaled by HEIGHT / height or by WIDTH /
# width, whichever is larger, and rounded down. The offset of the crop is rounded,
# halves to the even number. Pixels beyond the border have no weight, as in PIL.
STEPS = """
resize (uint8[batch, height, width, CHANNELS] image)
    => (uint8[batch, HEIGHT, WIDTH, CHANNELS] resize_image)
<
    int64[2] resize_size = {HEIGHT, WIDTH}, int64[2] resize_axes = {2, 3},
    int64[2] resize_turned = {1, 0},
    float resize_half = {0.5}
>
{
    resize_planes = Transpose <perm = [0, 3, 1, 2]> (image)
    resize_planes_shape = Shape <start = 0, end = 2> (resize_planes)
    resize_sides = Shape <start = 2> (resize_planes)
    resize_other_sides = Gather (resize_sides, resize_turned)
    resize_ratios = Mul (resize_size, resize_other_sides)
    resize_tight = ArgMax <keepdims = 1> (resize_ratios)
    resize_tight_side = Gather (resize_sides, resize_tight)
    resize_tight_size = Gather (resize_size, resize_tight)
    resize_scaled = Mul (resize_sides, resize_tight_size)
    resize_new_sides = Div (resize_scaled, resize_tight_side)
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
    model: onnx.ModelProto, image_size: ImageSize, channels: int
) -> onnx.ModelProto:
    """Put the resize and the centre crop in front of an encoder's graph.

    Pixels are within one grey level of `images.resize`, which is PIL's. In photographs
    at most 2 values of 100 differ. The graph gets two Shape nodes.

    Args:
        model: An encoder's graph, which takes images uint8 (batch, H, W, C).
        image_size: H and W, in pixels.
        channels: C.

    Returns:
        A copy whose input has the same name and takes images uint8 (batch, height,
        width, C). The images of a batch all have the same size, which may be any.

    Raises:
        ValueError: The graph does not take images of this size and C channels.
    """
    (image,) = model.graph.input
    shape = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    height, width = sides(image_size)
    if image.name != INPUT or shape[1:] != [height, width, channels]:
        raise ValueError(
            f"Expected a graph with input `{INPUT}` (batch, {height}, "
            f"{width}, {channels}) but got `{image.name}` "
            f"({', '.join(map(str, shape))})"
        )
    numbers = {"HEIGHT": height, "WIDTH": width, "CHANNELS": channels}
    text = STEPS
    for word, number in numbers.items():
        text = text.replace(word, str(number))
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
