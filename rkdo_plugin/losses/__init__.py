"""Criteria that read embeddings (B, D) and return a scalar."""

from rkdo_plugin.losses.icon import IConLoss
from rkdo_plugin.losses.rkdo import RecursiveLoss, RKDOLoss

__all__ = ["IConLoss", "RKDOLoss", "RecursiveLoss"]
