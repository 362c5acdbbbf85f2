"""Time of the rows of I-Con's table beside the libraries that are their oracles.

    python benchmarks/presets.py [repetitions [rows]]

Forward and backward, B = 1024, D = 128, one thread, float32; medians, interleaved.
Where no library has the row, a dense form in torch stands in; t-SNE's and SNE's oracle
is scikit-learn's p (and objective). Needs the packages of the extra `test`.
"""

import statistics
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from lightly.loss import NTXentLoss, VICRegLoss
from open_clip.loss import ClipLoss
from pytorch_metric_learning import distances, losses, miners, reducers
from scipy.spatial.distance import pdist, squareform
from sklearn.manifold import SpectralEmbedding, _utils
from sklearn.manifold._t_sne import _joint_probabilities, _kl_divergence
from sklearn.neighbors import kneighbors_graph
from torch import Tensor
from torch.nn import functional

from rkdo_plugin import create_loss

B, D, C, K = 1024, 128, 1000, 10
GENERATOR = torch.manual_seed(0)


def randn(*shape: int) -> Tensor:
    """Normal numbers, the same in every run."""
    return torch.randn(*shape, generator=GENERATOR)


Z0, Z1, PLACES, LOGITS = randn(B, D), randn(B, D), randn(B, 2), randn(B, K)
X, PROTOTYPES, BANK = randn(B, 64), randn(C, D), functional.normalize(randn(4096, D))
LABELS = torch.randint(0, 100, (B,), generator=GENERATOR)
CLASSES = torch.randint(0, C, (B,), generator=GENERATOR)
ITSELF = torch.eye(2 * B, dtype=torch.bool)


def others(logits: Tensor) -> Tensor:
    """Logits of no anchor itself."""
    return logits.masked_fill(ITSELF[: len(logits), : len(logits)], -1e9)


def kl(logits: Tensor, p: Tensor) -> Tensor:
    """KL(p || softmax(logits)), dense."""
    return functional.kl_div(logits.log_softmax(dim=1), p, reduction="batchmean")


def squares(x: Tensor) -> Tensor:
    """Squared distances, dense."""
    return torch.cdist(x, x).square()


def supcon(a: Tensor, b: Tensor) -> Tensor:
    """pytorch-metric-learning's."""
    value: Tensor = losses.SupConLoss(0.1)(torch.cat([a, b]), LABELS.repeat(2))
    return value


def clip(a: Tensor, b: Tensor) -> Tensor:
    """open_clip's."""
    value: Tensor = ClipLoss()(
        functional.normalize(a), functional.normalize(b), torch.tensor(1 / 0.07)
    )
    return value


def triplet(a: Tensor, b: Tensor) -> Tensor:
    """pytorch-metric-learning's, with the hardest negatives."""
    distance = distances.LpDistance(normalize_embeddings=False, p=2, power=2)
    criterion = losses.TripletMarginLoss(
        margin=0, distance=distance, reducer=reducers.MeanReducer()
    )
    z, labels = torch.cat([a, b]), torch.arange(B).repeat(2)
    value: Tensor = criterion(
        z, labels, miners.BatchHardMiner(distance=distance)(z, labels)
    )
    return value


def t_simclr(a: Tensor, b: Tensor) -> Tensor:
    """Dense."""
    logits = others(-torch.log1p(squares(torch.cat([a, b]))))
    return functional.cross_entropy(logits, torch.arange(2 * B).roll(B))


def x_sample(a: Tensor, b: Tensor) -> Tensor:
    """Dense."""
    z, g = functional.normalize(torch.cat([a, b])), torch.cat([X, X])
    return kl(others(z @ z.T / 0.1), others(g @ g.T / 0.1).softmax(dim=1))


def lgsimclr(a: Tensor) -> Tensor:
    """scikit-learn's graph, dense."""
    p = torch.from_numpy(kneighbors_graph(X.numpy(), 1).toarray()).float()
    z = functional.normalize(a)
    return kl(others(z @ z.T / 0.1), p)


def sne(a: Tensor) -> Tensor:
    """scikit-learn's p, dense."""
    found = squareform(pdist(X.numpy(), "sqeuclidean")).astype(np.float32)
    p = torch.from_numpy(_utils._binary_search_perplexity(found, 30.0, 0)).float()
    return kl(others(-squares(a)), p)


def t_sne(a: Tensor) -> Tensor:
    """scikit-learn's, whose gradient needs no backward pass."""
    found = squareform(pdist(X.numpy(), "sqeuclidean")).astype(np.float32)
    p = _joint_probabilities(found, 30.0, 0)
    flat = a.detach().double().numpy().ravel()
    value, _ = _kl_divergence(flat, p, 1.0, B, 2)
    return a.sum() * 0 + value


def clusters(a: Tensor, p: Tensor) -> Tensor:
    """Dense."""
    f = a.softmax(dim=1)
    return kl((f @ (f / f.sum(dim=0)).T).log(), p)


def normalized_cuts(a: Tensor) -> Tensor:
    """Dense."""
    affinity = (-squares(X) / 2).exp()
    degree = affinity.sum(dim=1)
    f = a.softmax(dim=1)
    counted = degree[:, None] * f
    q = (f / counted.sum(dim=0)) @ counted.T
    p = affinity / degree[:, None]
    rows = (torch.xlogy(p, p) - p * q.log()).sum(dim=1)
    return (rows * degree).sum() / degree.sum()


def spectral(a: Tensor) -> Tensor:
    """scikit-learn's coordinates, dense."""
    embedding = SpectralEmbedding(
        8,
        affinity="nearest_neighbors",
        n_neighbors=10,
        eigen_solver="lobpcg",
        random_state=0,
    )
    found = torch.from_numpy(embedding.fit_transform(X.numpy())).float()
    found /= found.std(dim=0)
    return clusters(a, (-2 * squares(found)).softmax(dim=1))


def neighbours(a: Tensor) -> Tensor:
    """Dense."""
    nearest = others(-squares(X)).topk(5).indices
    p = torch.zeros(B, B).scatter_(1, nearest, 0.2)
    return clusters(a, 0.8 * p + 0.2 / B)


Pass = Callable[..., Tensor]
MOCO, MOCO_OURS = NTXentLoss(0.1, memory_bank_size=(4096, D)), create_loss("moco")
# name -> embeddings with gradient, ours, what it is compared with, and that
ROWS: dict[str, tuple[tuple[Tensor, ...], Pass, str, Pass]] = {
    "simclr": ((Z0, Z1), create_loss("simclr"), "lightly", NTXentLoss(0.5)),
    "moco": ((Z0,), lambda a: MOCO_OURS(a, Z1), "lightly", lambda a: MOCO(a, Z1)),
    "supcon": (
        (Z0, Z1),
        lambda a, b: create_loss("supcon")(a, b, LABELS),
        "pytorch-metric-learning",
        supcon,
    ),
    "cmc": ((Z0, Z1), create_loss("cmc"), "open_clip", clip),
    "triplet": ((Z0, Z1), create_loss("triplet"), "pytorch-metric-learning", triplet),
    "clip": ((Z0, Z1), create_loss("clip"), "open_clip", clip),
    "cross-entropy": (
        (Z0, PROTOTYPES),
        lambda a, b: create_loss("cross-entropy")(a, b, CLASSES),
        "torch",
        lambda a, b: functional.cross_entropy(a @ b.T, CLASSES),
    ),
    "vicreg": ((Z0, Z1), create_loss("vicreg"), "lightly, all terms", VICRegLoss()),
    "sne": ((PLACES,), lambda a: create_loss("sne")(a, targets=X), "scikit-learn", sne),
    "t-sne": (
        (PLACES,),
        lambda a: create_loss("t-sne")(a, targets=X),
        "scikit-learn",
        t_sne,
    ),
    "t-simclr": ((Z0, Z1), create_loss("t-simclr"), "dense", t_simclr),
    "x-sample": (
        (Z0, Z1),
        lambda a, b: create_loss("x-sample")(a, b, X),
        "dense",
        x_sample,
    ),
    "lgsimclr": (
        (Z0,),
        lambda a: create_loss("lgsimclr")(a, targets=X),
        "dense",
        lgsimclr,
    ),
    "harmonic": (
        (Z0, PROTOTYPES),
        lambda a, b: create_loss("harmonic")(a, b, CLASSES),
        "dense",
        lambda a, b: functional.cross_entropy(-2 * torch.cdist(a, b).log(), CLASSES),
    ),
    "pca": (
        (Z0,),
        create_loss("pca"),
        "dense",
        lambda a: -squares(a).mean(),
    ),
    "k-means": (
        (LOGITS,),
        lambda a: create_loss("k-means")(a, targets=X),
        "dense",
        lambda a: clusters(a, (-squares(X) / 2).softmax(dim=1)),
    ),
    "normalized-cuts": (
        (LOGITS,),
        lambda a: create_loss("normalized-cuts")(a, targets=X),
        "dense",
        normalized_cuts,
    ),
    "infonce-clustering": (
        (LOGITS,),
        lambda a: create_loss("infonce-clustering")(a, targets=X),
        "dense",
        neighbours,
    ),
    "spectral": (
        (LOGITS,),
        lambda a: create_loss("spectral")(a, targets=X),
        "dense",
        spectral,
    ),
}


def seconds(criterion: Pass, embeddings: tuple[Tensor, ...]) -> float:
    """Of one forward and backward pass."""
    leaves = [z.clone().requires_grad_() for z in embeddings]
    started = time.perf_counter()
    criterion(*leaves).backward()
    return time.perf_counter() - started


def main(repetitions: str = "15", *names: str) -> None:
    """Print a line for each of the named rows, or of all."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    MOCO.memory_bank.bank = BANK.clone()
    print(f"{'row':20}{'ms':>8}{'oracle ms':>11}{'ratio':>7}  oracle")
    for name in names or ROWS:
        embeddings, ours, oracle, theirs = ROWS[name]
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(int(repetitions) + 1):
            for criterion, taken in zip((ours, theirs), times, strict=True):
                taken.append(seconds(criterion, embeddings))
        mine, other = (statistics.median(taken[1:]) for taken in times)
        figures = f"{1000 * mine:8.1f}{1000 * other:11.1f}{mine / other:7.2f}"
        print(f"{name:20}{figures}  {oracle}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
