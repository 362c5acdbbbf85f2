"""What should be a neighbour of what: p(j|i) over the candidates of an anchor."""

from collections.abc import Callable

from rkdo_plugin.supervision.gaussians import Gaussian, Perplexity, Spectral
from rkdo_plugin.supervision.identities import Classes, Given, Itself, Labels, Pairs
from rkdo_plugin.supervision.neighbors import Neighbors, Similarity
from rkdo_plugin.supervision.target import RandomWalk, Supervision, Target

SUPERVISIONS: dict[str, Callable[[], Supervision]] = {
    "pairs": Pairs,
    "labels": Labels,
    "classes": Classes,
    "neighbors": Neighbors,
    "gaussian": Gaussian,
    "perplexity": Perplexity,
    "similarity": Similarity,
    "spectral": Spectral,
    "given": Given,
    "itself": Itself,
}

__all__ = [
    "SUPERVISIONS",
    "Classes",
    "Gaussian",
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
