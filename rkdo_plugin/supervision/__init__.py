"""p(j|i): which candidates should be near an anchor."""

from collections.abc import Callable

from rkdo_plugin.supervision.gaussians import (
    GaussianAffinity,
    Perplexity,
    Spectral,
)
from rkdo_plugin.supervision.identities import Classes, Given, Itself, Labels, Pairs
from rkdo_plugin.supervision.neighbors import Neighbors, Similarity
from rkdo_plugin.supervision.target import RandomWalk, Supervision, Target

SUPERVISIONS: dict[str, Callable[[], Supervision]] = {
    "pairs": Pairs,
    "labels": Labels,
    "classes": Classes,
    "neighbors": Neighbors,
    "gaussian": GaussianAffinity,
    "perplexity": Perplexity,
    "similarity": Similarity,
    "spectral": Spectral,
    "given": Given,
    "itself": Itself,
}

__all__ = [
    "SUPERVISIONS",
    "Classes",
    "GaussianAffinity",
    "Given",
    "Itself",
    "Labels",
    "Neighbors",
    "Pairs",
    "Perplexity",
    "RandomWalk",
    "Similarity",
    "Spectral",
    "Supervision",
    "Target",
]
