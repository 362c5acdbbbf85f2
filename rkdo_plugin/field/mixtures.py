r"""How an update moves rows: the two means of a row p and of its new neighbours q.

    linear        (1 - a) p + a q           the p' of least (1-a) KL(p|p') + a KL(q|p')
    log-linear    p^(1 - a) q^a / Z         the p' of least (1-a) KL(p'|p) + a KL(p'|q)

The linear mean is equation (3), and a union: what either holds near stays. The
log-linear mean is an intersection: what either holds impossible goes.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rkdo_plugin.field.prior import SideBySide
from rkdo_plugin.field.rows import UNFILLED, mix_rows, response
from rkdo_plugin.field.search import (
    Bank,
    exact_neighbors,
    most_similar,
    sampled_neighbors,
)

if TYPE_CHECKING:
    from rkdo_plugin.field.response_field import ResponseField

LOG_LINEAR = "log_linear"


def move_linear(
    field: "ResponseField", samples: Tensor, latest: Tensor, coupling: float
) -> None:
    """p <- (1 - a) p + a q for the rows of unique samples (B,).

    Args:
        field: The field, which has stored the embeddings.
        samples: (B,) int64, on the embeddings' device.
        latest: (B, D) float32 unit vectors, the samples' embeddings.
        coupling: a, in (0, 1].
    """
    ids, weights, self_mass = field.target(samples)
    new_ids, similarities = _nearest(field, samples, latest, field.embeddings, ids)
    # Without any neighbour there is no q, and the row waits for one.
    found = (new_ids[:, 0] != UNFILLED).cpu()
    samples = samples.cpu()[found]
    new_weights = response(similarities, field.teacher_temperature).cpu()[found]
    row = ids[found], weights[found], self_mass[found]
    new_row = new_ids.cpu()[found], new_weights
    ids, weights, self_mass = mix_rows(*row, *new_row, coupling)
    field.ids[samples] = ids.int()
    field.weights[samples] = weights
    field.self_mass[samples] = self_mass
    field.doubted[samples] = False
    field.prior_share[samples] *= 1 - coupling


def move_log_linear(
    field: "ResponseField", samples: Tensor, latest: Tensor, coupling: float
) -> None:
    r"""p <- p^(1 - a) q^a / Z for the rows of unique samples (B,).

    Unrolled, with embeddings f that stand still and features phi of the start,

        log p_t(j|i) = [b_i cos(phi_i, phi_j) + (1 - b_i) cos(f_i, f_j)] / tau - log Z

    where b_i is the product of 1 - a over the updates of row i. So a row is computed
    from nothing but its b_i, and is the k largest of the sums. With embeddings that
    move, the latest similarity stands in for the history of similarities.

    Candidates are the samples seen so far and the neighbours that the row has. One of
    those that was not seen yet counts as at cosine 0.

    Args:
        field: The field, which has stored the embeddings.
        samples: (B,) int64, on the embeddings' device.
        latest: (B, D) float32 unit vectors, the samples' embeddings.
        coupling: a, in (0, 1].
    """
    ids, _, self_mass = field.target(samples)
    moves = self_mass == 0  # p^(1 - a) q^a of a one-hot p is p
    if not moves.any():
        return
    ids, here = ids[moves].to(latest.device), moves.to(latest.device)
    samples, latest = samples[here], latest[here]
    share = (1 - coupling) * field.prior_share[samples.cpu()]
    b = share.to(latest.device)[:, None]
    prior = b * field.prior[samples].float()
    queries = torch.cat([prior, (1 - b) * latest], dim=1)
    bank = SideBySide(field.prior, field.embeddings)
    seen = _nearest(field, samples, queries, bank, ids)
    rows = ids.clamp_min(0)
    unseen = torch.einsum("br,bkr->bk", prior, field.prior[rows].float())
    counts = (ids != UNFILLED) & ~field.valid[rows] & (b > 0)
    unseen.masked_fill_(~counts, -torch.inf)
    ids, similarities = most_similar(
        torch.cat([seen[0], rows], dim=1),
        torch.cat([seen[1], unseen], dim=1),
        field.neighbors,
    )
    weights = response(similarities, field.teacher_temperature)
    ids = ids.masked_fill(weights == 0, UNFILLED)
    # Where the search found nobody there is no q, and the row waits for one.
    found = (seen[0][:, 0] != UNFILLED).cpu()
    samples = samples.cpu()[found]
    field.ids[samples] = ids.cpu()[found].int()
    field.weights[samples] = weights.cpu()[found]
    field.doubted[samples] = False
    field.prior_share[samples] = share[found]


Move = Callable[["ResponseField", Tensor, Tensor, float], None]
MIXTURES: dict[str, Move] = {"linear": move_linear, LOG_LINEAR: move_log_linear}


def check_start(field: "ResponseField", index: Tensor) -> None:
    """Raise a ValueError if rows (B,) of a log-linear field never got their prior."""
    if field.mixture != LOG_LINEAR:
        return
    # `initialize` sets every share to 1, and only rows without self mass lower theirs.
    if ((field.prior_share[index] == 0) & (field.self_mass[index] > 0)).any():
        raise ValueError(
            "Expected a log-linear field to be initialised before its rows move but "
            "got the one-hot start, which p^(1 - a) q^a never leaves: call "
            "`initialize` with features first, or take mixture='linear'"
        )


def _nearest(
    field: "ResponseField",
    samples: Tensor,
    queries: Tensor,
    bank: Bank,
    current: Tensor,
) -> tuple[Tensor, Tensor]:
    """Ids and similarities (B, k) of the nearest samples that the search finds."""
    known = (queries, bank, field.valid, samples, field.neighbors)
    if field.search == "exact" or field.search_samples >= field.num_samples:
        return exact_neighbors(*known)
    # The update's number is in the seed: a resumed run, and every process of a
    # distributed run, draw the same candidates.
    generator = torch.Generator().manual_seed(field.seed * 2**32 + int(field.updates))
    size = (field.search_samples,)
    sampled = torch.randint(field.num_samples, size, generator=generator)
    return sampled_neighbors(*known, sampled.to(queries.device), current)
