"""Rows that assign features to clusters: embeddings (B, K) are the logits.

Every function is a row of table 1 in Alshammari et al., "I-Con: A Unifying Framework
for Representation Learning", ICLR 2025, https://arxiv.org/abs/2504.16929.
"""

from rkdo_plugin.kernels import Clusters
from rkdo_plugin.losses.icon import IConLoss
from rkdo_plugin.supervision import GaussianAffinity, Neighbors, Pairs, Spectral


def k_means(bandwidth: float = 1.0, debias: float = 0.0) -> IConLoss:
    """Near samples share clusters: `criterion(logits, targets=x)`.

    Args:
        bandwidth: sigma, about as large as the distances within a cluster.
        debias: Share of p that is spread evenly over the candidates, in [0, 1].

    Source: MacQueen, 1967.
    """
    return IConLoss(
        1.0,
        GaussianAffinity(bandwidth),
        Clusters(),
        debias=debias,
        candidates="with_self",
    )


def spectral(
    components: int = 8,
    neighbors: int = 10,
    bandwidth: float = 0.5,
    debias: float = 0.0,
) -> IConLoss:
    """K-means on spectral coordinates: `criterion(logits, targets=x)`.

    Args:
        components: Number of coordinates.
        neighbors: Number of neighbours of each sample in the graph.
        bandwidth: sigma; the coordinates have variance 1.
        debias: Share of p that is spread evenly over the candidates, in [0, 1].

    Source: Ng, Jordan and Weiss, 2001.
    """
    return IConLoss(
        1.0,
        Spectral(components, neighbors, bandwidth),
        Clusters(),
        debias=debias,
        candidates="with_self",
    )


def normalized_cuts(bandwidth: float = 1.0, debias: float = 0.0) -> IConLoss:
    """K-means weighted by degrees: `criterion(logits, targets=x)`.

    Args:
        bandwidth: sigma, about as large as the distances within a cluster.
        debias: Share of p that is spread evenly over the candidates, in [0, 1].

    Source: Shi and Malik, 2000.
    """
    return IConLoss(
        1.0,
        GaussianAffinity(bandwidth, degrees=True),
        Clusters(),
        debias=debias,
        candidates="with_self",
    )


def pmi_clustering(debias: float = 0.2) -> IConLoss:
    """Drawn neighbours, or views, share clusters: `criterion(logits0, logits1)`.

    Args:
        debias: Share of p that is spread evenly over the candidates, in [0, 1].

    Source: Adaloglou et al., 2023, https://arxiv.org/abs/2303.17896.
    """
    return IConLoss(1.0, Pairs(), Clusters(), debias=debias, candidates="with_self")


def infonce_clustering(k: int = 5, debias: float = 0.2) -> IConLoss:
    """Neighbours share clusters, debiased: `criterion(logits, targets=x)`.

    Args:
        k: Number of neighbours.
        debias: Share of p that is spread evenly over the candidates, in [0, 1].

    Source: Alshammari et al., 2025, https://arxiv.org/abs/2504.16929.
    """
    return IConLoss(
        1.0, Neighbors(k), Clusters(), debias=debias, candidates="with_self"
    )
