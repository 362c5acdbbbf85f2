"""Rows that tell views, modalities or neighbours from the rest of a batch.

Every function is a row of table 1 in Alshammari et al., "I-Con: A Unifying Framework
for Representation Learning", ICLR 2025, https://arxiv.org/abs/2504.16929.
"""

import math

from rkdo_plugin.kernels import Gaussian, StudentT
from rkdo_plugin.losses.icon import IConLoss
from rkdo_plugin.supervision import Labels, Neighbors, Pairs, Similarity


def simclr(
    temperature: float = 0.5, debias: float = 0.0, gather_distributed: bool = False
) -> IConLoss:
    """InfoNCE of two views: `criterion(z0, z1)`.

    Args:
        temperature: tau, positive.
        debias: Share of p that is spread evenly over the candidates, in [0, 1].
        gather_distributed: Take candidates from all processes.

    Source: Chen et al., 2020, https://arxiv.org/abs/2002.05709.
    """
    return IConLoss(temperature, debias=debias, gather_distributed=gather_distributed)


def moco(
    temperature: float = 0.1,
    memory_bank_size: tuple[int, int] = (4096, 128),
    gather_distributed: bool = False,
) -> IConLoss:
    """InfoNCE over a queue of keys: `criterion(query, key)`.

    Args:
        temperature: tau, positive.
        memory_bank_size: Number of keys, and their dimension D.
        gather_distributed: Queue the keys of all processes.

    Source: He et al., 2020, https://arxiv.org/abs/1911.05722.
    """
    return IConLoss(
        temperature,
        candidates="cross",
        memory_bank_size=memory_bank_size,
        gather_distributed=gather_distributed,
    )


def t_simclr(
    temperature: float = 1.0,
    degrees_of_freedom: float = 1.0,
    debias: float = 0.0,
    gather_distributed: bool = False,
) -> IConLoss:
    """SimCLR with a Student-t kernel: `criterion(z0, z1)`.

    Embeddings are taken as they come. For a map (t-SimCNE) they have two components.

    Args:
        temperature: tau, positive.
        degrees_of_freedom: nu, positive; 1 is the Cauchy kernel.
        debias: Share of p that is spread evenly over the candidates, in [0, 1].
        gather_distributed: Take candidates from all processes.

    Source: Hu et al., 2023, https://arxiv.org/abs/2205.14814.
    """
    return IConLoss(
        temperature,
        Pairs(),
        StudentT(degrees_of_freedom),
        debias=debias,
        gather_distributed=gather_distributed,
    )


def supcon(
    temperature: float = 0.1, debias: float = 0.0, gather_distributed: bool = False
) -> IConLoss:
    """Samples of one class attract: `criterion(z0, z1, labels)`.

    Or `criterion(z, targets=labels)`. The value is the published one minus the entropy
    of p, which has no gradient.

    Args:
        temperature: tau, positive.
        debias: Share of p that is spread evenly over the candidates, in [0, 1].
        gather_distributed: Take candidates from all processes.

    Source: Khosla et al., 2020, https://arxiv.org/abs/2004.11362.
    """
    return IConLoss(
        temperature, Labels(), debias=debias, gather_distributed=gather_distributed
    )


def lgsimclr(
    temperature: float = 0.1,
    k: int = 1,
    debias: float = 0.0,
    gather_distributed: bool = False,
) -> IConLoss:
    """Neighbours by their captions attract: `criterion(z, targets=captions)`.

    Captions are embeddings (B, F) of a language model.

    Args:
        temperature: tau, positive.
        k: Number of neighbours.
        debias: Share of p that is spread evenly over the candidates, in [0, 1].
        gather_distributed: Take candidates from all processes.

    Source: El Banani et al., 2023, https://arxiv.org/abs/2302.12248.
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
    """Samples of similar metadata attract: `criterion(z0, z1, metadata)`.

    Metadata are embeddings g (B, F), and p = softmax(g_i . g_j / tau_p).

    Args:
        temperature: tau, positive.
        target_temperature: tau_p, positive.
        debias: Share of p that is spread evenly over the candidates, in [0, 1].
        gather_distributed: Take candidates from all processes.

    Source: Sobal et al., 2024, https://arxiv.org/abs/2407.18134.
    """
    return IConLoss(
        temperature,
        Similarity(target_temperature),
        debias=debias,
        gather_distributed=gather_distributed,
    )


def clip(temperature: float = 0.07, gather_distributed: bool = False) -> IConLoss:
    """Pairs across two modalities, tau learnt: `criterion(images, texts)`.

    Args:
        temperature: tau at the start, positive.
        gather_distributed: Take candidates from all processes.

    Source: Radford et al., 2021, https://arxiv.org/abs/2103.00020.
    """
    return IConLoss(
        temperature,
        candidates="cross",
        symmetric=True,
        learnable_temperature=True,
        gather_distributed=gather_distributed,
    )


def cmc(temperature: float = 0.07, gather_distributed: bool = False) -> IConLoss:
    """Pairs across two modalities, tau given: `criterion(z0, z1)`.

    The value is the mean of the two directions; the paper has their sum.

    Args:
        temperature: tau, positive.
        gather_distributed: Take candidates from all processes.

    Source: Tian et al., 2020, https://arxiv.org/abs/1906.05849.
    """
    return IConLoss(
        temperature,
        candidates="cross",
        symmetric=True,
        gather_distributed=gather_distributed,
    )


def triplet(gather_distributed: bool = False) -> IConLoss:
    """Hardest negative, margin 0, squared distances: `criterion(z0, z1)`.

    The limit sigma -> 0: mean_i max(0, d(i, positive)^2 - min_j d(i, j)^2).

    Args:
        gather_distributed: Take candidates from all processes.

    Source: Schroff et al., 2015, https://arxiv.org/abs/1503.03832.
    """
    return IConLoss(
        1.0, Pairs(), Gaussian(bandwidth=0), gather_distributed=gather_distributed
    )


def vicreg(gather_distributed: bool = False) -> IConLoss:
    """VICReg's invariance and variance: `criterion(z0, z1)`.

    The limit sigma -> inf: mean_i ||z0_i - z1_i||^2 - 2 sum_d Var(z_d). VICReg has a
    hinge that bounds the variance. This loss has none: give it embeddings of bounded
    size.

    Args:
        gather_distributed: Take candidates from all processes.

    Source: Bardes et al., 2022, https://arxiv.org/abs/2105.04906.
    """
    return IConLoss(
        1.0,
        Pairs(),
        Gaussian(bandwidth=math.inf),
        candidates="with_self",
        gather_distributed=gather_distributed,
    )
