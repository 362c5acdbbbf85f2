"""The response field: who is whose neighbour, kept per sample across training."""

from rkdo_plugin.field.callback import FieldCallback
from rkdo_plugin.field.pairs import FieldPairs
from rkdo_plugin.field.response_field import ResponseField

__all__ = ["FieldCallback", "FieldPairs", "ResponseField"]
