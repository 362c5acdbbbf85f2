"""The rows of I-Con's table by name: each a p, a q and who is compared with whom."""

from collections.abc import Callable

from rkdo_plugin.losses.icon import IConLoss
from rkdo_plugin.losses.presets import classes, clusters, contrastive, maps

PRESETS: dict[str, Callable[..., IConLoss]] = {
    "clip": contrastive.clip,
    "cmc": contrastive.cmc,
    "cross-entropy": classes.cross_entropy,
    "harmonic": classes.harmonic,
    "infonce-clustering": clusters.infonce_clustering,
    "k-means": clusters.k_means,
    "lgsimclr": contrastive.lgsimclr,
    "mlm": classes.mlm,
    "moco": contrastive.moco,
    "normalized-cuts": clusters.normalized_cuts,
    "pca": maps.pca,
    "pmi-clustering": clusters.pmi_clustering,
    "simclr": contrastive.simclr,
    "sne": maps.sne,
    "spectral": clusters.spectral,
    "supcon": contrastive.supcon,
    "t-simclr": contrastive.t_simclr,
    "t-sne": maps.t_sne,
    "triplet": contrastive.triplet,
    "vicreg": contrastive.vicreg,
    "x-sample": contrastive.x_sample,
}
