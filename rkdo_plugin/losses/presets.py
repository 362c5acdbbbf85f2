"""The rows of I-Con's table: each method as a p, a q and who is compared with whom.

Every function makes an `IConLoss`; what it leaves out is the default there. Source of
all: Alshammari et al., "I-Con: A Unifying Framework for Representation Learning", ICLR
2025, https://arxiv.org/abs/2504.16929, table 1; the method's own paper beside each.
"""

import math

from rkdo_plugin.kernels import Clusters, Dot, Gaussian, PowerLaw, StudentT
from rkdo_plugin.losses.icon import IConLoss
from rkdo_plugin.supervision import (
    Classes,
    Itself,
    Labels,
    Neighbors,
    Pairs,
    Perplexity,
    Similarity,
    Spectral,
)
from rkdo_plugin.supervision import Gaussian as GaussianOf


def simclr(
    temperature: float = 0.5, debias: float = 0.0, gather_distributed: bool = False
) -> IConLoss:
    """InfoNCE of two views: `criterion(z0, z1)`. Chen et al., 2020."""
    return IConLoss(temperature, debias=debias, gather_distributed=gather_distributed)


def moco(
    temperature: float = 0.1,
    memory_bank_size: tuple[int, int] = (4096, 128),
    gather_distributed: bool = False,
) -> IConLoss:
    """InfoNCE over a queue of keys: `criterion(query, key)`. He et al., 2020."""
    return IConLoss(
        temperature,
        candidates="cross",
        memory_bank_size=memory_bank_size,
        gather_distributed=gather_distributed,
    )


def supcon(
    temperature: float = 0.1, debias: float = 0.0, gather_distributed: bool = False
) -> IConLoss:
    """Same labels attract: `criterion(z0, z1, labels)`. Khosla et al., 2020.

    Its value is the published loss less the entropy of p, which no gradient sees.
    """
    return IConLoss(
        temperature, Labels(), debias=debias, gather_distributed=gather_distributed
    )


def t_simclr(
    temperature: float = 1.0,
    degrees_of_freedom: float = 1.0,
    debias: float = 0.0,
    gather_distributed: bool = False,
) -> IConLoss:
    """SimCLR with a Student-t kernel: `criterion(z0, z1)`. Hu et al., 2023."""
    return IConLoss(
        temperature,
        Pairs(),
        StudentT(degrees_of_freedom),
        debias=debias,
        gather_distributed=gather_distributed,
    )


def lgsimclr(
    temperature: float = 0.1,
    k: int = 1,
    debias: float = 0.0,
    gather_distributed: bool = False,
) -> IConLoss:
    """Neighbours by captions attract: `criterion(z, targets=captions)`.

    El Banani et al., 2023.
    """
    return IConLoss(
        temperature, Neighbors(k), debias=debias, gather_distributed=gather_distributed
    )


def x_sample(
    temperature: float = 0.1,
    target_temperature: float = 0.1,
    debias: float = 0.0,
    gather_distributed: bool = False,
) -> IConLoss:
    """Similar metadata attract: `criterion(z0, z1, metadata)`. Sobal et al., 2024."""
    return IConLoss(
        temperature,
        Similarity(target_temperature),
        debias=debias,
        gather_distributed=gather_distributed,
    )


def triplet(gather_distributed: bool = False) -> IConLoss:
    """Hardest negative, margin 0: `criterion(z0, z1)`. Schroff et al., 2015.

    The limit sigma -> 0: mean over i of max(0, d(i, positive)^2 - min_j d(i, j)^2).
    """
    return IConLoss(
        1.0, Pairs(), Gaussian(bandwidth=0), gather_distributed=gather_distributed
    )


def vicreg(gather_distributed: bool = False) -> IConLoss:
    """VICReg's invariance and variance: `criterion(z0, z1)`. Bardes et al., 2022.

    The limit sigma -> inf: mean_i ||z0_i - z1_i||^2 - 2 sum_d Var(z_d). Nothing bounds
    the variance, where VICReg has a hinge: give it embeddings of bounded size.
    """
    return IConLoss(
        1.0,
        Pairs(),
        Gaussian(bandwidth=math.inf),
        candidates="with_self",
        gather_distributed=gather_distributed,
    )


def clip(temperature: float = 0.07, gather_distributed: bool = False) -> IConLoss:
    """Pairs across two modalities, tau learnt: `criterion(images, texts)`.

    Radford et al., 2021.
    """
    return IConLoss(
        temperature,
        candidates="cross",
        symmetric=True,
        learnable_temperature=True,
        gather_distributed=gather_distributed,
    )


def cmc(temperature: float = 0.07, gather_distributed: bool = False) -> IConLoss:
    """Pairs across two modalities, tau given: `criterion(z0, z1)`. Tian et al., 2020.

    The mean of the two directions, where the paper has their sum.
    """
    return IConLoss(
        temperature,
        candidates="cross",
        symmetric=True,
        gather_distributed=gather_distributed,
    )


def cross_entropy(temperature: float = 1.0, debias: float = 0.0) -> IConLoss:
    """Softmax over classes: `criterion(features, prototypes, targets=labels)`.

    `debias` is the label smoothing of torch, in value but for the entropy of p.
    """
    return IConLoss(temperature, Classes(), Dot(), debias=debias)


def harmonic(exponent: float = 2.0) -> IConLoss:
    """Inverse distances to classes: `criterion(features, prototypes, targets=labels)`.

    Baek et al., 2025, who take the exponent n near the square root of D.
    """
    return IConLoss(1.0, Classes(), PowerLaw(exponent))


def mlm(temperature: float = 1.0) -> IConLoss:
    """Masked language modelling: `criterion(contexts, tokens, targets=tokens_masked)`.

    Targets are tokens (B,), -100 where none is masked, or counts (B, V). Devlin et
    al., 2019.
    """
    return IConLoss(temperature, Classes(), Dot())


def sne(perplexity: float = 30.0) -> IConLoss:
    """Gaussian to Gaussian: `criterion(z, targets=x)`. Hinton and Roweis, 2002."""
    return IConLoss(1.0, Perplexity(perplexity), Gaussian(bandwidth=0.5**0.5))


def t_sne(perplexity: float = 30.0, degrees_of_freedom: float = 1.0) -> IConLoss:
    """Gaussian to Student-t over all pairs: `criterion(z, targets=x)`.

    Van der Maaten and Hinton, 2008.
    """
    return IConLoss(
        1.0, Perplexity(perplexity), StudentT(degrees_of_freedom), joint=True
    )


def pca() -> IConLoss:
    """Spread of a map: `criterion(z)`, z orthonormal in x. Pearson, 1901.

    The limit sigma -> inf with all of p on the anchor: -2 sum_d Var(z_d).
    """
    return IConLoss(1.0, Itself(), Gaussian(bandwidth=math.inf), candidates="with_self")


def k_means(bandwidth: float = 1.0, debias: float = 0.0) -> IConLoss:
    """Near samples share clusters: `criterion(logits, targets=x)`.

    Probabilistic k-means; the bandwidth is of one size with distances within clusters.
    """
    return IConLoss(
        1.0, GaussianOf(bandwidth), Clusters(), debias=debias, candidates="with_self"
    )


def spectral(
    components: int = 8,
    neighbors: int = 10,
    bandwidth: float = 0.5,
    debias: float = 0.0,
) -> IConLoss:
    """K-means on spectral coordinates of x: `criterion(logits, targets=x)`."""
    return IConLoss(
        1.0,
        Spectral(components, neighbors, bandwidth),
        Clusters(),
        debias=debias,
        candidates="with_self",
    )


def normalized_cuts(bandwidth: float = 1.0, debias: float = 0.0) -> IConLoss:
    """K-means weighted by degrees: `criterion(logits, targets=x)`. Shi, Malik, 2000."""
    return IConLoss(
        1.0,
        GaussianOf(bandwidth, degrees=True),
        Clusters(),
        debias=debias,
        candidates="with_self",
    )


def infonce_clustering(k: int = 5, debias: float = 0.2) -> IConLoss:
    """Neighbours share clusters, debiased: `criterion(logits, targets=x)`.

    Alshammari et al., 2025.
    """
    return IConLoss(
        1.0, Neighbors(k), Clusters(), debias=debias, candidates="with_self"
    )


PRESETS = {
    "clip": clip,
    "cmc": cmc,
    "cross-entropy": cross_entropy,
    "harmonic": harmonic,
    "infonce-clustering": infonce_clustering,
    "k-means": k_means,
    "lgsimclr": lgsimclr,
    "mlm": mlm,
    "moco": moco,
    "normalized-cuts": normalized_cuts,
    "pca": pca,
    "simclr": simclr,
    "sne": sne,
    "spectral": spectral,
    "supcon": supcon,
    "t-simclr": t_simclr,
    "t-sne": t_sne,
    "triplet": triplet,
    "vicreg": vicreg,
    "x-sample": x_sample,
}
