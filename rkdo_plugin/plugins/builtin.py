"""What this package contributes, through the same hooks as any other plugin.

Strings name the factories: a list of names imports none of them.
"""

from rkdo_plugin.plugins.hookspecs import Factories, hookimpl

PRESETS = "rkdo_plugin.losses.presets"
RECIPES = "rkdo_plugin.recipes"
ENCODERS = "rkdo_plugin.recipes.encoders"


@hookimpl
def rkdo_losses() -> Factories:
    """I-Con and its table, RKDO, and the losses that the recipes start from."""
    return {
        "barlowtwins": "lightly.loss:BarlowTwinsLoss",
        "clip": f"{PRESETS}.contrastive:clip",
        "cmc": f"{PRESETS}.contrastive:cmc",
        "consistency": "torch.nn:MSELoss",
        "cross-entropy": f"{PRESETS}.classes:cross_entropy",
        "dino": "lightly.loss:DINOLoss",
        "harmonic": f"{PRESETS}.classes:harmonic",
        "icon": "rkdo_plugin.losses.icon:IConLoss",
        "infonce-clustering": f"{PRESETS}.clusters:infonce_clustering",
        "k-means": f"{PRESETS}.clusters:k_means",
        "lgsimclr": f"{PRESETS}.contrastive:lgsimclr",
        "mlm": f"{PRESETS}.classes:mlm",
        "moco": f"{PRESETS}.contrastive:moco",
        "negative-cosine": "lightly.loss:NegativeCosineSimilarity",
        "normalized-cuts": f"{PRESETS}.clusters:normalized_cuts",
        "ntxent": "lightly.loss:NTXentLoss",
        "pca": f"{PRESETS}.maps:pca",
        "pmi-clustering": f"{PRESETS}.clusters:pmi_clustering",
        "rkdo": "rkdo_plugin.losses.rkdo:RKDOLoss",
        "rkdo-dino": "rkdo_plugin.losses.rkdo_dino:RKDODINOLoss",
        "rkdo-over": "rkdo_plugin.losses.rkdo:RecursiveLoss",
        "simclr": f"{PRESETS}.contrastive:simclr",
        "sne": f"{PRESETS}.maps:sne",
        "spectral": f"{PRESETS}.clusters:spectral",
        "supcon": f"{PRESETS}.contrastive:supcon",
        "t-simclr": f"{PRESETS}.contrastive:t_simclr",
        "t-sne": f"{PRESETS}.maps:t_sne",
        "triplet": f"{PRESETS}.contrastive:triplet",
        "vicreg": f"{PRESETS}.contrastive:vicreg",
        "vicreg-covariance": "lightly.loss:VICRegLoss",
        "x-sample": f"{PRESETS}.contrastive:x_sample",
    }


@hookimpl
def rkdo_banks() -> Factories:
    """The EMA response-field memory bank."""
    return {"response-field": "rkdo_plugin.field.response_field:ResponseField"}


@hookimpl
def rkdo_recipes() -> Factories:
    """One file each in the folder `recipes/`."""
    return {
        "barlowtwins": f"{RECIPES}.barlowtwins:BarlowTwins",
        "byol": f"{RECIPES}.byol:BYOL",
        "cluster": f"{RECIPES}.cluster:Cluster",
        "dino": f"{RECIPES}.dino:DINO",
        "map2d": f"{RECIPES}.map2d:Map2D",
        "mean-teacher": f"{RECIPES}.mean_teacher:MeanTeacher",
        "moco": f"{RECIPES}.moco:MoCo",
        "nnclr": f"{RECIPES}.nnclr:NNCLR",
        "simclr": f"{RECIPES}.simclr:SimCLR",
        "simsiam": f"{RECIPES}.simsiam:SimSiam",
        "supcon": f"{RECIPES}.supcon:SupCon",
        "temporal-ensembling": f"{RECIPES}.temporal_ensembling:TemporalEnsembling",
        "vicreg": f"{RECIPES}.vicreg:VICReg",
    }


@hookimpl
def rkdo_encoders() -> Factories:
    """Torchvision's and timm's networks, small convnets, pixels and trained runs."""
    return {
        "masked-vit": f"{ENCODERS}.timm:masked_vit",
        "pixels": f"{ENCODERS}.small:Pixels",
        "plane": f"{ENCODERS}.plane:onto_plane",
        "resnet18": f"{ENCODERS}.torchvision:resnet18",
        "resnet18-small": f"{ENCODERS}.torchvision:resnet18_small",
        "resnet50": f"{ENCODERS}.torchvision:resnet50",
        "resnet50-small": f"{ENCODERS}.torchvision:resnet50_small",
        "run": f"{RECIPES}.evaluation.trained:encoder_of_run",
        "small-convnet": f"{ENCODERS}.small:SmallConvNet",
        "timm": f"{ENCODERS}.timm:timm_encoder",
        "torchvision": f"{ENCODERS}.torchvision:torchvision_encoder",
        "wide-convnet": f"{ENCODERS}.small:wide_convnet",
    }


@hookimpl
def rkdo_exporters() -> Factories:
    """The verified ONNX export."""
    return {"onnx": "rkdo_plugin.export.onnx:export_onnx"}
