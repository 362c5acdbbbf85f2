"""What this package itself contributes, through the public hooks only.

Imports happen inside the hooks: listing the losses must not load onnxruntime.
"""

from rkdo_plugin.plugins.hookspecs import Factories, hookimpl


@hookimpl
def rkdo_losses() -> Factories:
    """I-Con and its table, RKDO, and the criteria that the recipes start from."""
    from lightly.loss import (
        BarlowTwinsLoss,
        DINOLoss,
        NegativeCosineSimilarity,
        NTXentLoss,
        VICRegLoss,
    )
    from torch.nn import MSELoss

    from rkdo_plugin.losses import IConLoss, RKDOLoss
    from rkdo_plugin.losses.presets import PRESETS
    from rkdo_plugin.losses.rkdo_dino import RKDODINOLoss

    return {
        **PRESETS,
        "barlowtwins": BarlowTwinsLoss,
        "consistency": MSELoss,
        "dino": DINOLoss,
        "icon": IConLoss,
        "lightly-vicreg": VICRegLoss,
        "negative-cosine": NegativeCosineSimilarity,
        "ntxent": NTXentLoss,
        "rkdo": RKDOLoss,
        "rkdo-dino": RKDODINOLoss,
    }


@hookimpl
def rkdo_banks() -> Factories:
    """The EMA response-field memory bank."""
    from rkdo_plugin.field import ResponseField

    return {"response-field": ResponseField}


@hookimpl
def rkdo_recipes() -> Factories:
    """The recipes under `recipes/`."""
    from rkdo_plugin.recipes.barlowtwins import BarlowTwins
    from rkdo_plugin.recipes.byol import BYOL
    from rkdo_plugin.recipes.cluster import Cluster
    from rkdo_plugin.recipes.dino import DINO
    from rkdo_plugin.recipes.map2d import Map2D
    from rkdo_plugin.recipes.mean_teacher import MeanTeacher
    from rkdo_plugin.recipes.moco import MoCo
    from rkdo_plugin.recipes.nnclr import NNCLR
    from rkdo_plugin.recipes.simclr import SimCLR
    from rkdo_plugin.recipes.simsiam import SimSiam
    from rkdo_plugin.recipes.supcon import SupCon
    from rkdo_plugin.recipes.temporal_ensembling import TemporalEnsembling
    from rkdo_plugin.recipes.vicreg import VICReg

    return {
        "barlowtwins": BarlowTwins,
        "byol": BYOL,
        "cluster": Cluster,
        "dino": DINO,
        "map2d": Map2D,
        "mean_teacher": MeanTeacher,
        "moco": MoCo,
        "nnclr": NNCLR,
        "simclr": SimCLR,
        "simsiam": SimSiam,
        "supcon": SupCon,
        "temporal_ensembling": TemporalEnsembling,
        "vicreg": VICReg,
    }


@hookimpl
def rkdo_encoders() -> Factories:
    """Torchvision's networks, timm's, small convnets, pixels and trained runs."""
    from rkdo_plugin.recipes.encoders import torchvision as encoders

    return {
        "masked-vit": encoders.masked_vit,
        "pixels": encoders.Pixels,
        "plane": encoders.onto_plane,
        "resnet18": encoders.resnet18,
        "resnet18-small": encoders.resnet18_small,
        "resnet50": encoders.resnet50,
        "resnet50-small": encoders.resnet50_small,
        "run": encoders.of_run,
        "small-convnet": encoders.SmallConvNet,
        "timm": encoders.timm_encoder,
        "torchvision": encoders.torchvision_encoder,
        "wide-convnet": encoders.wide_convnet,
    }


@hookimpl
def rkdo_exporters() -> Factories:
    """The verified ONNX export."""
    from rkdo_plugin.export import export_onnx

    return {"onnx": export_onnx}
