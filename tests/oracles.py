"""Independent float64 references: naive loops over the formulas, nothing shared."""

import math

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn, tensor


def lcg_views(seed: int, batch: int, dim: int) -> tuple[Tensor, Tensor]:
    """Two views (B, D) of unit rows from the conformance vectors' own stream."""
    state, values = seed, []
    for _ in range(2 * batch * dim):
        state = (1664525 * state + 1013904223) % 2**32
        values.append(state / 2**32 * 2 - 1)
    views = np.array(values).reshape(2, batch, dim)
    views /= np.linalg.norm(views, axis=2, keepdims=True)
    return torch.tensor(views[0]), torch.tensor(views[1])


def candidates_of(
    z0: np.ndarray, z1: np.ndarray, candidates: str
) -> list[tuple[np.ndarray, np.ndarray, list[int]]]:
    """For each row: the anchor, its positive's index and the candidates, in a list."""
    if candidates == "cross":
        return [(z0[i], i, list(z1)) for i in range(len(z0))]
    both = [*z0, *z1]
    rows = []
    for i in range(len(both)):
        partner = (i + len(z0)) % len(both)
        others = [j for j in range(len(both)) if j != i]
        rows.append((both[i], others.index(partner), [both[j] for j in others]))
    return rows


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def softmax(logits: list[float]) -> list[float]:
    largest = max(logits)
    weights = [math.exp(x - largest) for x in logits]
    return [w / sum(weights) for w in weights]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def icon_value(
    z0: Tensor,
    z1: Tensor,
    temperature: float,
    kernel: str,
    debias: float,
    candidates: str,
) -> float:
    """I-Con with pairs as supervision, one candidate at a time."""
    total = 0.0
    rows = candidates_of(z0.double().numpy(), z1.double().numpy(), candidates)
    for anchor, positive, others in rows:
        if kernel == "cosine":
            logits = [cosine(anchor, other) / temperature for other in others]
        else:
            logits = [
                -math.log(1 + float(np.sum((anchor - other) ** 2))) / temperature
                for other in others
            ]
        p = [debias / len(others)] * len(others)
        p[positive] += 1 - debias
        total += kl(p, softmax(logits))
    return total / len(rows)


def rkdo_value(
    z0: Tensor,
    z1: Tensor,
    temperature: float,
    coupling: float,
    depth: int,
    decay: float,
    candidates: str,
) -> float:
    """The in-batch recursion, one candidate at a time."""
    total = 0.0
    rows = candidates_of(z0.double().numpy(), z1.double().numpy(), candidates)
    for anchor, positive, others in rows:
        cosines = [cosine(anchor, other) for other in others]
        p = [0.0] * len(others)
        p[positive] = 1.0
        q = softmax([c / temperature for c in cosines])
        for t in range(1, depth + 1):
            p = [(1 - coupling) * a + coupling * b for a, b in zip(p, q, strict=True)]
            tau = temperature * (1 - decay * t / depth)
            q = softmax([c / tau for c in cosines])
            total += kl(p, q)
    return total / len(rows)


def dense_rkdo(
    z0: Tensor,
    z1: Tensor,
    temperature: float,
    coupling: float,
    depth: int,
    decay: float,
    detach_target: bool = False,
) -> Tensor:
    """The recursion on whole matrices, differentiated by autograd."""
    cosines = torch.nn.functional.normalize(z0) @ torch.nn.functional.normalize(z1).T
    p = torch.eye(len(z0), dtype=z0.dtype)
    log_q = torch.log_softmax(cosines / temperature, dim=1)
    loss = z0.new_zeros(())
    for t in range(1, depth + 1):
        p = (1 - coupling) * p + coupling * log_q.exp()
        if detach_target:
            p = p.detach()
        tau = temperature * (1 - decay * t / depth)
        log_q = torch.log_softmax(cosines / tau, dim=1)
        loss = loss + (torch.special.xlogy(p, p) - p * log_q).sum(dim=1).mean()
    return loss


class DenseField:
    """Equation (3) on a dense N x N matrix, in loops: p <- (1 - a) p + a q."""

    def __init__(
        self, num_samples: int, dim: int, coupling: float, temperature: float
    ) -> None:
        self.p = np.eye(num_samples)
        self.embeddings = np.zeros((num_samples, dim))
        self.seen = np.zeros(num_samples, dtype=bool)
        self.coupling = coupling
        self.temperature = temperature

    def q(self, sample: int) -> np.ndarray:
        others = [j for j in range(len(self.p)) if self.seen[j] and j != sample]
        row = np.zeros(len(self.p))
        logits = [
            cosine(self.embeddings[sample], self.embeddings[j]) / self.temperature
            for j in others
        ]
        row[others] = softmax(logits) if others else []
        return row

    def update(self, index: list[int], embeddings: np.ndarray) -> None:
        for sample in set(index):
            views = [z for i, z in zip(index, embeddings, strict=True) if i == sample]
            mean = sum(z / np.linalg.norm(z) for z in views)
            self.embeddings[sample] = mean / np.linalg.norm(mean)
            self.seen[sample] = True
        for sample in set(index):
            q = self.q(sample)
            if q.sum() > 0:
                self.p[sample] *= 1 - self.coupling
                self.p[sample] += self.coupling * q


def dense_log_linear(
    features: np.ndarray,
    embeddings: np.ndarray,
    couplings: list[float],
    temperature: float,
    neighbors: int,
) -> np.ndarray:
    """p <- p^(1 - a) q^a / Z on a dense N x N matrix, then the k largest of each row.

    Both p_0, of the features, and q, of the embeddings, are softmaxes of cosines.
    """
    rows = []
    for i in range(len(features)):
        others = [j for j in range(len(features)) if j != i]
        p, q = (
            softmax([cosine(vectors[i], vectors[j]) / temperature for j in others])
            for vectors in (features, embeddings)
        )
        for a in couplings:
            products = [x ** (1 - a) * y**a for x, y in zip(p, q, strict=True)]
            p = [x / sum(products) for x in products]
        row = np.zeros(len(features))
        row[others] = p
        row[np.argsort(-row)[neighbors:]] = 0
        rows.append(row / row.sum())
    return np.array(rows)


def field_target_loss(
    z0: Tensor,
    z1: Tensor,
    sample_ids: tuple[list[int], list[int]],
    field: nn.Module,
    temperature: float,
    candidates: str,
) -> float:
    """KL of a response field's rows, over the batch and the rows' stored embeddings."""
    views = [z0.detach().double().numpy(), z1.detach().double().numpy()]
    if candidates == "cross":
        anchors = [(0, i) for i in range(len(z0))]
        batch = [(1, i) for i in range(len(z0))]
    else:
        anchors = batch = [(v, i) for v in (0, 1) for i in range(len(z0))]
    total = 0.0
    for view, i in anchors:
        anchor, own = views[view][i], sample_ids[view][i]
        partner = sample_ids[1 - view][i]
        ids, weights, self_mass = (t[0].tolist() for t in field.target(tensor([own])))
        row = {
            j: w
            for j, w in zip(ids, weights, strict=True)
            if j >= 0 and (field.valid[j] or j == partner)
        }
        mass = float(field.active_weight) * (1 - self_mass) if row else 0.0
        p = {j: mass * w / sum(row.values()) for j, w in row.items()}
        p_positive = 1 - mass + p.pop(partner, 0.0)
        logits, targets = [], []
        for v, j in batch:
            positive = (v, j) == (1 - view, i)
            known = {own, partner} | {j for j in ids if j >= 0}
            if positive or sample_ids[v][j] not in known:
                logits.append(cosine(anchor, views[v][j]) / temperature)
                targets.append(p_positive if positive else 0.0)
        for j, target in p.items():
            stored = field.embeddings[j].double().numpy()
            logits.append(cosine(anchor, stored) / temperature)
            targets.append(target)
        q = softmax(logits)
        total += sum(t * math.log(t / s) for t, s in zip(targets, q, strict=True) if t)
    return total / len(anchors)


def labelled_cross_entropy(probabilities: np.ndarray, labels: list[int]) -> float:
    """Sum over the labelled, divided by the batch, as in Temporal Ensembling."""
    rows = [-np.log(p[y]) for p, y in zip(probabilities, labels, strict=True) if y >= 0]
    return sum(rows) / len(labels)


def consistency_weight(step: int, steps: int) -> float:
    """Gaussian ramp-up over the first quarter of the steps."""
    return math.exp(-5 * (1 - min(1, step / steps / 0.25)) ** 2)


def dense_rows(field: nn.Module) -> np.ndarray:
    """A response field's rows as a stochastic matrix (N, N)."""
    matrix = np.diag(field.self_mass.double().numpy())
    for i, (ids, weights) in enumerate(zip(field.ids, field.weights, strict=True)):
        for j, weight in zip(ids.tolist(), weights.tolist(), strict=True):
            if j >= 0:
                matrix[i, j] += weight
    return matrix


def knn_classifier() -> KNeighborsClassifier:
    """Of 20 neighbours, whose votes weigh exp(cosine / 0.1)."""
    return KNeighborsClassifier(
        20,
        metric="cosine",
        algorithm="brute",
        weights=lambda distance: np.exp((1 - distance) / 0.1),
    )


def nearer_than_itself(anchors, neighbors, before, step=1):
    """P_n and P_o of each anchor, and its neighbour's excess over the others'."""

    def greater(first, second):
        return 0.5 if abs(first - second) < 1e-6 else float(first > second)

    own, share, excess = [], [], []
    for i, anchor in enumerate(anchors):
        products = [float(np.dot(anchor, neighbor)) for neighbor in neighbors]
        itself = float(np.dot(anchor, before[i]))
        others = [s for j, s in enumerate(products) if j != i and j % step == 0]
        own.append(greater(products[i], itself))
        share.append(np.mean([greater(other, itself) for other in others]))
        excess.append(products[i] - np.mean(others))
    return own, share, excess


def nearer_than_others(anchors, neighbors, step=1):
    """A of each anchor."""
    found = []
    for i, anchor in enumerate(anchors):
        products = [float(np.dot(anchor, neighbor)) for neighbor in neighbors]
        others = [s for j, s in enumerate(products) if j != i and j % step == 0]
        signs = [np.sign(round(products[i] - other, 6)) for other in others]
        found.append(np.mean(signs))
    return found


def likeness(own, share):
    """L of all samples, none of which moved its row."""
    farthest = 0.5 - np.mean(share)
    if farthest < 0.01:
        return 0.0
    chance = len(own) ** -0.5
    return min(1.0, max(0.0, (np.mean(own) - np.mean(share) - chance) / farthest))
