"""Read from `config.pbtxt` what all versions of a Triton model promise to clients."""

from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)

from rkdo_plugin.export.file.metadata import PREFIX, RESIZING

# Clients rely on these parameters to prepare images and to compare embeddings.
SHARED = (PREFIX + "normalize", RESIZING)


def contract(text: str) -> dict[str, str]:
    """Read what a configuration promises. What it does not mention is left out.

    Args:
        text: A `config.pbtxt`, which a person may have edited.

    Returns:
        Names, types and dimensions of the tensors under "input" and "output", and the
        parameters that clients rely on under their own keys.

    Raises:
        ValueError: The text is not protobuf's text format, or names a tensor type other
            than TYPE_UINT8 and TYPE_FP32.
    """
    try:
        config = text_format.Parse(text, _config_class()(), allow_unknown_field=True)
    except text_format.ParseError as error:
        raise ValueError(str(error)) from error
    types = config.DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number
    promised = {
        key: "; ".join(
            f"{tensor.name} {types[tensor.data_type].name} {list(tensor.dims)}"
            for tensor in tensors
        )
        for key, tensors in (("input", config.input), ("output", config.output))
    }
    for parameter in config.parameters:
        if parameter.key in SHARED:
            promised[parameter.key] = parameter.value.string_value
    return {key: value for key, value in promised.items() if value}


def _config_class() -> Any:
    """Make a message class with the fields of NVIDIA's ModelConfig that are read here.

    The text format names its fields. So unknown fields can be skipped, and the numbers
    of fields do not matter.
    """
    field = descriptor_pb2.FieldDescriptorProto
    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    messages: dict[str, dict[str, tuple[int, int, str | None]]] = {
        "Tensor": {
            "name": (one, field.TYPE_STRING, None),
            "data_type": (one, field.TYPE_ENUM, "DataType"),
            "dims": (many, field.TYPE_INT64, None),
        },
        "Value": {"string_value": (one, field.TYPE_STRING, None)},
        "Parameter": {
            "key": (one, field.TYPE_STRING, None),
            "value": (one, field.TYPE_MESSAGE, "Value"),
        },
        "Config": {
            "input": (many, field.TYPE_MESSAGE, "Tensor"),
            "output": (many, field.TYPE_MESSAGE, "Tensor"),
            "parameters": (many, field.TYPE_MESSAGE, "Parameter"),
        },
    }
    file = descriptor_pb2.FileDescriptorProto(name="triton.proto", package="rkdo")
    types = file.enum_type.add(name="DataType").value
    for word, number in (("TYPE_INVALID", 0), ("TYPE_UINT8", 2), ("TYPE_FP32", 11)):
        types.add(name=word, number=number)
    for message, fields in messages.items():
        described = file.message_type.add(name=message).field
        for number, (name, (label, kind, of)) in enumerate(fields.items(), start=1):
            of = of and f".rkdo.{of}"
            described.add(
                name=name, number=number, label=label, type=kind, type_name=of
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("rkdo.Config"))
