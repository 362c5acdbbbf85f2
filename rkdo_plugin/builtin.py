"""What this package itself contributes, through the public hooks only.

Imports happen inside the hooks: listing the losses must not load onnxruntime.
"""

from rkdo_plugin.hookspecs import Factories, hookimpl


@hookimpl
def rkdo_losses() -> Factories:
    """I-Con and its table, RKDO, and the Lightly criteria that recipes start from."""
    from lightly.loss import NegativeCosineSimilarity, NTXentLoss

    from rkdo_plugin.losses import IConLoss, RKDOLoss
    from rkdo_plugin.losses.presets import PRESETS

    return {
        **PRESETS,
        "icon": IConLoss,
        "negative-cosine": NegativeCosineSimilarity,
        "ntxent": NTXentLoss,
        "rkdo": RKDOLoss,
    }


@hookimpl
def rkdo_banks() -> Factories:
    """The EMA response-field memory bank."""
    from rkdo_plugin.field import ResponseField

    return {"response-field": ResponseField}


@hookimpl
def rkdo_recipes() -> Factories:
    """The recipes under `recipes/`."""
    from rkdo_plugin.recipes.byol import BYOL
    from rkdo_plugin.recipes.cluster import Cluster
    from rkdo_plugin.recipes.map2d import Map2D
    from rkdo_plugin.recipes.simclr import SimCLR

    return {"byol": BYOL, "cluster": Cluster, "map2d": Map2D, "simclr": SimCLR}


@hookimpl
def rkdo_encoders() -> Factories:
    """Torchvision's networks, timm's, small convnets, pixels and trained runs."""
    from rkdo_plugin.recipes import encoders

    return {
        "pixels": encoders.Pixels,
        "plane": encoders.onto_plane,
        "resnet18": encoders.resnet18,
        "resnet50": encoders.resnet50,
        "run": encoders.of_run,
        "small-convnet": encoders.SmallConvNet,
        "timm": encoders.timm_encoder,
        "wide-convnet": encoders.wide_convnet,
    }


@hookimpl
def rkdo_exporters() -> Factories:
    """The verified ONNX export."""
    from rkdo_plugin.export import export_onnx

    return {"onnx": export_onnx}
