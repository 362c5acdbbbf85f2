"""The response field: the neighbours of every sample, kept across training."""

from rkdo_plugin.field.callback import FieldCallback
from rkdo_plugin.field.convergence import ConvergenceMonitor, StopWhenFlat
from rkdo_plugin.field.pairs import FieldPairs
from rkdo_plugin.field.response_field import ResponseField

__all__ = [
    "ConvergenceMonitor",
    "FieldCallback",
    "FieldPairs",
    "ResponseField",
    "StopWhenFlat",
]
