"""Rows whose candidates are prototypes of classes or tokens.

Every function is a row of table 1 in Alshammari et al., "I-Con: A Unifying Framework
for Representation Learning", ICLR 2025, https://arxiv.org/abs/2504.16929.
"""

from rkdo_plugin.kernels import Dot, PowerLaw
from rkdo_plugin.losses.icon import IConLoss
from rkdo_plugin.supervision import Classes


def cross_entropy(temperature: float = 1.0, debias: float = 0.0) -> IConLoss:
    """Softmax: `criterion(features, prototypes, targets=labels)`.

    Labels (B,) are those of `torch.nn.functional.cross_entropy`; -100 stands for none.
    `debias` is its label smoothing, up to the entropy of p.

    Args:
        temperature: tau, positive.
        debias: Share of p that is spread evenly over the candidates, in [0, 1].

    Source: Bridle, 1990.
    """
    return IConLoss(temperature, Classes(), Dot(), debias=debias)


def harmonic(exponent: float = 2.0) -> IConLoss:
    """Inverse distances: `criterion(features, prototypes, targets=labels)`.

    Args:
        exponent: n, positive; the paper takes a value near the square root of D.

    Source: Baek et al., 2025, https://arxiv.org/abs/2502.01628.
    """
    return IConLoss(1.0, Classes(), PowerLaw(exponent))


def mlm(temperature: float = 1.0) -> IConLoss:
    """Masked language modelling: `criterion(contexts, tokens, targets=masked)`.

    Targets are the masked tokens (B,), -100 where there is none, or counts (B, V).

    Args:
        temperature: tau, positive.

    Source: Devlin et al., 2019, https://arxiv.org/abs/1810.04805.
    """
    return IConLoss(temperature, Classes(), Dot())
