"""Rows that draw features in few dimensions.

Every function is a row of table 1 in Alshammari et al., "I-Con: A Unifying Framework
for Representation Learning", ICLR 2025, https://arxiv.org/abs/2504.16929.
"""

import math

from rkdo_plugin.kernels import Gaussian, StudentT
from rkdo_plugin.losses.icon import IConLoss
from rkdo_plugin.supervision import Itself, Perplexity


def sne(perplexity: float = 30.0) -> IConLoss:
    """Gaussian to Gaussian, row by row: `criterion(z, targets=x)`.

    Args:
        perplexity: Effective number of neighbours of each row of p.

    Source: Hinton and Roweis, 2002.
    """
    return IConLoss(1.0, Perplexity(perplexity), Gaussian(bandwidth=0.5**0.5))


def t_sne(perplexity: float = 30.0, degrees_of_freedom: float = 1.0) -> IConLoss:
    """Gaussian to Student-t, over all pairs: `criterion(z, targets=x)`.

    Args:
        perplexity: Effective number of neighbours of each row of p.
        degrees_of_freedom: nu, positive; 1 is the Cauchy kernel.

    Source: van der Maaten and Hinton, 2008.
    """
    return IConLoss(
        1.0, Perplexity(perplexity), StudentT(degrees_of_freedom), joint=True
    )


def pca() -> IConLoss:
    """Spread of an orthonormal map: `criterion(z)`.

    The limit sigma -> inf with all of p on the anchor: -2 sum_d Var(z_d).

    Source: Pearson, 1901.
    """
    return IConLoss(1.0, Itself(), Gaussian(bandwidth=math.inf), candidates="with_self")
