"""Each row of I-Con's table against an implementation that nobody here wrote.

Value and gradient; `python tests/losses/test_table.py` prints the errors that
docs/i-con-table.md lists.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from lightly.loss import NTXentLoss
from open_clip.loss import ClipLoss
from pytorch_metric_learning import distances, losses, miners, reducers
from scipy.spatial.distance import pdist, squareform
from sklearn.decomposition import PCA
from sklearn.manifold import SpectralEmbedding, _utils
from sklearn.manifold._t_sne import _joint_probabilities, _kl_divergence
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import kneighbors_graph
from torch import Tensor
from torch.nn import functional

from rkdo_plugin import IConLoss, create_loss
from rkdo_plugin.kernels import Gaussian
from rkdo_plugin.supervision import Perplexity

B, D, F, C = 40, 6, 10, 7
GENERATOR = torch.manual_seed(0)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=GENERATOR)


Z0, Z1, Z2 = randn(B, D), randn(B, D), randn(B, 2)
X, PROTOTYPES, LOGITS = randn(B, F), randn(C, D), randn(B, 5)
LABELS = torch.randint(0, 5, (B,), generator=GENERATOR)
CLASSES = torch.randint(0, C, (B,), generator=GENERATOR)
COUNTS = torch.randint(0, 4, (B, C), generator=GENERATOR).double()
COUNTS[:, 0] += 1


def off_diagonal(logits: Tensor) -> Tensor:
    return logits.masked_fill(torch.eye(len(logits), dtype=torch.bool), -1e9)


def entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum() / len(p)


def soft_cross_entropy(logits: Tensor, p: Tensor) -> Tensor:
    """KL(p || softmax(logits)): torch's cross-entropy less the entropy of p."""
    return functional.cross_entropy(logits, p) - entropy(p)


def unit(z: Tensor) -> Tensor:
    return functional.normalize(z, dim=1)


def squared_distances(x: Tensor) -> Tensor:
    return torch.from_numpy(squareform(pdist(x.numpy(), "sqeuclidean")))


def moco(query: Tensor, key: Tensor, bank: Tensor) -> Tensor:
    criterion = NTXentLoss(0.2, memory_bank_size=tuple(bank.shape))
    criterion.memory_bank.bank = bank.clone()
    return criterion(query, key)


def supcon(z: Tensor, labels: Tensor) -> Tensor:
    same = labels[:, None] == labels
    positives = same.sum(dim=1) - 1
    kept = positives > 0  # the rows that it averages over
    value = losses.SupConLoss(0.1)(z, labels)
    return value - positives[kept].double().log().mean()


def hardest_triplets(z0: Tensor, z1: Tensor) -> Tensor:
    squared = distances.LpDistance(normalize_embeddings=False, p=2, power=2)
    z, labels = torch.cat([z0, z1]), torch.arange(len(z0)).repeat(2)
    criterion = losses.TripletMarginLoss(
        margin=0, distance=squared, reducer=reducers.MeanReducer()
    )
    return criterion(z, labels, miners.BatchHardMiner(distance=squared)(z, labels))


def vicreg(z0: Tensor, z1: Tensor) -> Tensor:
    invariance = functional.mse_loss(z0, z1) * z0.shape[1]
    return invariance - 2 * torch.cat([z0, z1]).var(dim=0, unbiased=False).sum()


def student_t(z0: Tensor, z1: Tensor) -> Tensor:
    z = torch.cat([z0, z1])
    logits = -torch.log1p((z[:, None] - z).square().sum(dim=2) / 3) * 2
    return functional.cross_entropy(
        off_diagonal(logits), torch.arange(len(z)).roll(len(z0))
    )


def one_hot_neighbours(z: Tensor, k: int) -> Tensor:
    p = torch.from_numpy(kneighbors_graph(X.numpy(), k).toarray()) / k
    return soft_cross_entropy(off_diagonal(unit(z) @ unit(z).T / 0.1), p)


def metadata(z0: Tensor, z1: Tensor) -> Tensor:
    z, g = unit(torch.cat([z0, z1])), torch.cat([X, X])
    p = off_diagonal(g @ g.T / 4).softmax(dim=1)
    log_q = off_diagonal(z @ z.T / 0.1).log_softmax(dim=1)
    return functional.kl_div(log_q, p, reduction="batchmean")


def both_directions(z0: Tensor, z1: Tensor) -> Tensor:
    criterion, labels = losses.NTXentLoss(0.07), torch.arange(len(z0))
    refs = labels.clone()  # of the same tensor it would take the pairs for selves
    forth = criterion(z0, labels, ref_emb=z1, ref_labels=refs)
    return (forth + criterion(z1, labels, ref_emb=z0, ref_labels=refs)) / 2


def sne(z: Tensor) -> Tensor:
    squares = squared_distances(X).numpy().astype(np.float32)
    p = torch.from_numpy(_utils._binary_search_perplexity(squares, 12.0, 0))
    return soft_cross_entropy(off_diagonal(-(z[:, None] - z).square().sum(dim=2)), p)


class TSNE(torch.autograd.Function):
    """Scikit-learn's objective and gradient.

    Its gradient is that of one degree of freedom; of others it has the kernel where
    1 / (1 + d^2 / nu) belongs, so those are differences of its objective.
    """

    @staticmethod
    def forward(ctx, z, degrees_of_freedom):
        squares = squared_distances(X).numpy().astype(np.float32)
        p = _joint_probabilities(squares, 12.0, 0)
        flat = z.detach().numpy().ravel()

        def objective(flat):
            return _kl_divergence(flat, p, degrees_of_freedom, *z.shape)

        value, grad = objective(flat)
        if degrees_of_freedom != 1:
            steps = 1e-4 * np.eye(len(flat))
            grad = np.array(
                [objective(flat + s)[0] - objective(flat - s)[0] for s in steps]
            )
            grad /= 2e-4
        ctx.grad = torch.from_numpy(grad.reshape(z.shape))
        return z.new_tensor(value)

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.grad, None


def symmetric_sne() -> IConLoss:
    return IConLoss(1.0, Perplexity(12.0), Gaussian(), joint=True)


def clusters(z: Tensor, p: Tensor, degree: Tensor) -> Tensor:
    """Rows of KL(p || q), q through clusters, both weighted by degrees."""
    f = z.softmax(dim=1)
    size = (degree[:, None] * f).sum(dim=0)
    q = torch.einsum("ic,jc,j->ij", f / size, f, degree)
    rows = torch.special.xlogy(p, p) - torch.special.xlogy(p, q)
    return (rows.sum(dim=1) * degree).sum() / degree.sum()


def of_affinity(z: Tensor, weighted: bool) -> Tensor:
    affinity = torch.from_numpy(rbf_kernel(X.numpy(), gamma=0.5 / 1.5**2))
    degree = affinity.sum(dim=1)
    weight = degree if weighted else torch.ones_like(degree)
    return clusters(z, affinity / degree[:, None], weight)


def of_coordinates(z: Tensor) -> Tensor:
    embedding = SpectralEmbedding(
        3,
        n_neighbors=6,
        affinity="nearest_neighbors",
        eigen_solver="lobpcg",
        random_state=0,
    ).fit_transform(X.numpy())
    coordinates = embedding / embedding.std(axis=0, ddof=1)
    affinity = torch.from_numpy(rbf_kernel(coordinates, gamma=0.5 / 0.5**2))
    p = affinity / affinity.sum(dim=1, keepdim=True)
    return clusters(z, p, torch.ones(B).double())


def of_views(z0: Tensor, z1: Tensor) -> Tensor:
    views = 2 * len(z0)
    other = torch.eye(views).double().roll(len(z0), dims=1)
    p = 0.8 * other + 0.2 / views
    return clusters(torch.cat([z0, z1]), p, torch.ones(views).double())


def of_neighbours(z: Tensor) -> Tensor:
    graph = torch.from_numpy(kneighbors_graph(X.numpy(), 4).toarray())
    return clusters(z, 0.8 * graph / 4 + 0.2 / B, torch.ones(B).double())


@dataclass
class Row:
    """A criterion and its call, beside the oracle's call."""

    create: Callable[[], IConLoss]
    arguments: tuple[Tensor, ...]
    call: Callable[..., Tensor]
    oracle: Callable[..., Tensor]
    tolerance: float = 1e-10


def views(create, oracle, tolerance=1e-10, **options):
    return Row(create, (Z0, Z1), lambda c, a, b: c(a, b, **options), oracle, tolerance)


def one(create, oracle, z=Z0, tolerance=1e-10, targets=X):
    return Row(create, (z,), lambda c, a: c(a, targets=targets), oracle, tolerance)


def classes(create, oracle, targets=CLASSES):
    call = lambda c, a, b: c(a, b, targets=targets)  # noqa: E731
    return Row(create, (Z0, PROTOTYPES), call, oracle)


def with_bank() -> IConLoss:
    criterion = create_loss("moco", temperature=0.2, memory_bank_size=(16, D)).double()
    criterion.queue.keys.copy_(BANK)
    return criterion


BANK = unit(randn(16, D))
ONCE = torch.cat([LABELS[:-3], torch.tensor([7, 8, 9])])
IGNORED = CLASSES.masked_fill(torch.arange(B) % 5 == 0, -100)

ROWS = {
    "simclr": views(lambda: create_loss("simclr", temperature=0.2), NTXentLoss(0.2)),
    "moco": Row(
        with_bank,
        (Z0,),
        lambda c, a: c(a, Z1),
        lambda a: moco(a, Z1, BANK),
    ),
    "supcon": views(
        lambda: create_loss("supcon"),
        lambda a, b: supcon(torch.cat([a, b]), LABELS.repeat(2)),
        targets=LABELS,
    ),
    "supcon, one view": one(
        lambda: create_loss("supcon"), lambda a: supcon(a, LABELS), targets=LABELS
    ),
    "supcon, some labels once": one(
        lambda: create_loss("supcon"), lambda a: supcon(a, ONCE), targets=ONCE
    ),
    "t-simclr": views(
        lambda: create_loss("t-simclr", degrees_of_freedom=3.0), student_t
    ),
    "lgsimclr": one(
        lambda: create_loss("lgsimclr", k=3), lambda a: one_hot_neighbours(a, 3)
    ),
    "lgsimclr, the nearest": one(
        lambda: create_loss("lgsimclr"), lambda a: one_hot_neighbours(a, 1)
    ),
    "x-sample": views(
        lambda: create_loss("x-sample", target_temperature=4.0), metadata, targets=X
    ),
    "clip": views(
        lambda: create_loss("clip").double(),
        lambda a, b: ClipLoss()(unit(a), unit(b), 1 / torch.tensor(0.07).double()),
        1e-6,  # the temperature's logarithm is of single precision
    ),
    "cmc": views(lambda: create_loss("cmc"), both_directions),
    "triplet": views(lambda: create_loss("triplet"), hardest_triplets),
    "vicreg": views(lambda: create_loss("vicreg"), vicreg),
    "cross-entropy": classes(
        lambda: create_loss("cross-entropy"),
        lambda a, b: functional.cross_entropy(a @ b.T, CLASSES),
    ),
    "cross-entropy, smoothed": classes(
        lambda: create_loss("cross-entropy", debias=0.1),
        lambda a, b: (
            functional.cross_entropy(a @ b.T, CLASSES, label_smoothing=0.1)
            - entropy(0.9 * functional.one_hot(CLASSES, C).double() + 0.1 / C)
        ),
    ),
    "harmonic": classes(
        lambda: create_loss("harmonic", exponent=3.0),
        lambda a, b: functional.nll_loss(
            ((d := torch.cdist(a, b) ** -3) / d.sum(dim=1, keepdim=True)).log(), CLASSES
        ),
    ),
    "mlm": classes(
        lambda: create_loss("mlm"),
        lambda a, b: functional.cross_entropy(a @ b.T, IGNORED),
        IGNORED,
    ),
    "mlm, counts": classes(
        lambda: create_loss("mlm"),
        lambda a, b: soft_cross_entropy(
            a @ b.T, COUNTS / COUNTS.sum(dim=1, keepdim=True)
        ),
        COUNTS,
    ),
    "sne": one(lambda: create_loss("sne", perplexity=12.0), sne, Z2, 1e-5),
    "t-sne": one(
        lambda: create_loss("t-sne", perplexity=12.0),
        lambda a: TSNE.apply(a, 1.0),
        Z2,
        1e-5,
    ),
    "t-sne, 2 degrees of freedom": one(
        lambda: create_loss("t-sne", perplexity=12.0, degrees_of_freedom=2.0),
        lambda a: TSNE.apply(a, 2.0),
        Z2,
        1e-5,
    ),
    "symmetric sne": one(symmetric_sne, lambda a: TSNE.apply(a, 1e7), Z2, 1e-5),
    "pca": one(
        lambda: create_loss("pca"),
        lambda a: -2 * a.var(dim=0, unbiased=False).sum(),
    ),
    "k-means": one(
        lambda: create_loss("k-means", bandwidth=1.5),
        lambda a: of_affinity(a, weighted=False),
        LOGITS,
    ),
    "normalized-cuts": one(
        lambda: create_loss("normalized-cuts", bandwidth=1.5),
        lambda a: of_affinity(a, weighted=True),
        LOGITS,
    ),
    "spectral": one(
        lambda: create_loss("spectral", components=3, neighbors=6),
        of_coordinates,
        LOGITS,
    ),
    "pmi-clustering": views(lambda: create_loss("pmi-clustering"), of_views),
    "infonce-clustering": one(
        lambda: create_loss("infonce-clustering", k=4), of_neighbours, LOGITS
    ),
}


def errors(name: str) -> tuple[float, float]:
    """Differences of the value and, at most, of the gradient, relative to its size."""
    row = ROWS[name]
    results = []
    for call in (lambda *a: row.call(row.create(), *a), row.oracle):
        arguments = [a.clone().requires_grad_() for a in row.arguments]
        value = call(*arguments)
        grads = torch.autograd.grad(value, arguments)
        results.append((value.item(), torch.cat([g.flatten() for g in grads])))
    (ours, our_grad), (theirs, their_grad) = results
    scale = max(1.0, their_grad.abs().max().item())
    return abs(ours - theirs), (our_grad - their_grad).abs().max().item() / scale


@pytest.mark.parametrize("name", ROWS)
def test_a_row_equals_its_oracle(name):
    assert max(errors(name)) <= ROWS[name].tolerance


def test_the_oracles_gradients_are_not_nothing():
    for name, row in ROWS.items():
        arguments = [a.clone().requires_grad_() for a in row.arguments]
        grads = torch.autograd.grad(row.oracle(*arguments), arguments)
        assert all(grad.abs().max() > 1e-3 for grad in grads), name


def test_clip_learns_its_temperature_as_open_clip_does():
    criterion = create_loss("clip", temperature=0.1)
    criterion(Z0, Z1).backward()
    scale = torch.tensor(10.0, dtype=torch.float64, requires_grad=True)
    ClipLoss()(unit(Z0), unit(Z1), scale).backward()
    # d / d log tau = -scale d / d scale
    found = criterion.log_temperature.grad.double()
    torch.testing.assert_close(found, -scale.grad * scale.detach(), rtol=1e-5, atol=0)


def test_one_negative_makes_the_triplet_of_torch():
    z0, z1 = Z0[:2], Z1[:2]
    expected = functional.triplet_margin_with_distance_loss(
        z0,
        z1,
        z1.flip(0),
        distance_function=lambda a, b: (a - b).square().sum(dim=1),
        margin=1e-12,  # 0 is refused
    )
    criterion = IConLoss(1.0, kernel=Gaussian(0), candidates="cross")
    torch.testing.assert_close(criterion(z0, z1), expected)


@pytest.mark.parametrize("candidates", ["all", "cross", "with_self"])
def test_the_limits_are_those_of_the_gaussian(candidates):
    def loss(bandwidth):
        return IConLoss(1.0, kernel=Gaussian(bandwidth), candidates=candidates)(Z0, Z1)

    wide, narrow = 1e4, 1e-2
    n = {"all": 2 * B - 1, "cross": B, "with_self": 2 * B}[candidates]
    spread = 2 * wide**2 * (loss(wide) - math.log(n))
    torch.testing.assert_close(spread, loss(math.inf), rtol=1e-5, atol=1e-5)
    hardest = 2 * narrow**2 * loss(narrow)
    torch.testing.assert_close(hardest, loss(0), rtol=1e-3, atol=1e-3)


def test_the_map_of_the_least_loss_is_that_of_pca():
    x = X * torch.linspace(3, 0.5, F)
    torch.manual_seed(0)
    weight = torch.randn(F, 2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        orthonormal, _ = torch.linalg.qr(weight)
        loss = create_loss("pca")(x @ orthonormal)
        loss.backward()
        return loss

    optimizer.step(closure)
    orthonormal, _ = torch.linalg.qr(weight.detach())
    expected = torch.from_numpy(PCA(2).fit(x.numpy()).components_).T
    cosines = torch.linalg.svdvals(orthonormal.T @ expected)
    torch.testing.assert_close(cosines, torch.ones(2).double(), rtol=0, atol=1e-6)


if __name__ == "__main__":
    print(f"{'row':30}{'value':>10}{'gradient':>10}")
    for row in ROWS:
        print(f"{row:30}" + "".join(f"{error:10.1e}" for error in errors(row)))
