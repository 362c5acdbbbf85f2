"""The EMA response-field memory bank."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rkdo_plugin.factors import unit_rows
from rkdo_plugin.field.embeddings import (
    check_sizes,
    checked_embeddings,
    checked_index,
    directions_of,
    mean_of_samples,
    stored_embeddings,
)
from rkdo_plugin.field.mixtures import LOG_LINEAR, MIXTURES, check_start
from rkdo_plugin.field.prior import RANK, gram_factors
from rkdo_plugin.field.rows import UNFILLED, Rows, response
from rkdo_plugin.field.saved_state import Saved
from rkdo_plugin.field.search import SEARCHES, neighbors_of_all
from rkdo_plugin.field.trust import AUTO, Evidence, check_weight, judge
from rkdo_plugin.options import check_range, check_temperature, choose

SHOWN = (
    "num_samples dim neighbors coupling teacher_temperature field_weight search mixture"
)


class ResponseField(Saved):
    r"""p(.|i) for every sample i of a data set, updated through the whole training.

        p_t(.|i) = (1 - a) p_{t-1}(.|i) + a q_{t-1}(.|i)

    q is the softmax of the cosine similarity to the nearest of the latest embeddings,
    without i itself. A row keeps its `neighbors` heaviest entries, and the mass on i.
    The start is one-hot, all mass on i, which is plain contrastive learning.

    The rows are in shared memory, where a data loader's workers read them: (9 k + 4) N
    bytes, 97 MB at N = 1.28 million. Docker gives a container 64 MB of shared memory
    unless `--shm-size` says otherwise. The embeddings, 2 D N bytes, are in ordinary
    memory.

    Args:
        num_samples: N, the size of the data set.
        dim: D, the size of the embeddings.
        neighbors: k, the number of neighbours kept in a row.
        coupling: a, in [0, 1]. With 0 the rows stay as they were initialised.
        teacher_temperature: Temperature of the softmax q.
        field_weight: w, in [0, 1]: how far `sample` follows the rows. "auto" follows
            them as far as they deserve it: see `trust`.
        search: "exact" looks for neighbours among all samples. "sampled" looks among
            `search_samples` random ones, those of the step and those of the row so far;
            its cost hardly grows with N. With N or more `search_samples` it is exact.
        embedding_dtype: Type of the stored embeddings; float16 halves their memory.
        search_samples: Number of random candidates of the sampled search.
        seed: Seed of the sampled search.
        embeddings_file: Keep the embeddings in this file, memory-mapped, where they
            are larger than memory. They stay on the CPU.
        mixture: "linear" is the equation above. "log-linear" is p^(1 - a) q^a / Z, for
            rows that `initialize` has filled: docs/response-field.md tells them apart.
            It also keeps 32 numbers of each sample's features, 87 MB at 1.28 million.

    Raises:
        ValueError: An option is outside its range, or the file is of another size.

    Example:
        >>> field = ResponseField(num_samples=100, dim=16, neighbors=4)
        >>> field.initialize(torch.randn(100, 32))
        >>> field.update(torch.arange(10), torch.randn(10, 16))
        >>> ids, weights, self_mass = field.target(torch.arange(10))
        >>> total = weights.sum(dim=1) + self_mass
        >>> ids.shape, bool(torch.allclose(total, torch.ones(10)))
        (torch.Size([10, 4]), True)

    Source: Martin, "Recursive KL Divergence Optimization", 2025,
    https://arxiv.org/abs/2504.21707, equation (3).
    """

    ids: Tensor
    weights: Tensor
    self_mass: Tensor
    active_weight: Tensor
    embeddings: Tensor
    valid: Tensor
    updates: Tensor
    doubted: Tensor
    prior: Tensor  # of a log-linear field alone
    prior_share: Tensor

    def __init__(
        self,
        num_samples: int,
        dim: int,
        neighbors: int = 8,
        coupling: float = 0.5,
        teacher_temperature: float = 0.05,
        field_weight: float | Literal["auto"] = AUTO,
        search: str = "exact",
        embedding_dtype: torch.dtype = torch.float16,
        *,
        search_samples: int = 2048,
        seed: int = 0,
        embeddings_file: str | Path | None = None,
        mixture: str = "linear",
    ) -> None:
        super().__init__()
        check_sizes(num_samples, dim, neighbors, search_samples, seed)
        check_range("coupling", coupling, 0, 1)
        check_temperature(teacher_temperature, "teacher_temperature")
        check_weight(field_weight)
        self.num_samples = num_samples
        self.dim = dim
        self.neighbors = neighbors
        self.coupling = coupling
        self.teacher_temperature = teacher_temperature
        self.field_weight = field_weight
        self.search = choose("search", search, SEARCHES)
        self.search_samples = search_samples
        self.seed = seed
        self.embeddings_file = embeddings_file
        self.mixture = choose("mixture", mixture, MIXTURES)
        self.warming_up = False
        rows = Rows.one_hot(num_samples, neighbors, 0.0)
        for name, row in vars(rows).items():
            self.register_buffer(name, row)
        shape = (num_samples, dim)
        stored = stored_embeddings(shape, embedding_dtype, embeddings_file)
        self.register_buffer("embeddings", stored)
        self.register_buffer("valid", torch.zeros(num_samples, dtype=torch.bool))
        self.register_buffer("updates", torch.tensor(0))
        self.register_buffer("prior_share", torch.zeros(num_samples))
        if self.mixture == LOG_LINEAR:
            prior = torch.zeros(num_samples, RANK, dtype=torch.float16)
            self.register_buffer("prior", prior)
        self.evidence = Evidence()
        self.follow()

    @property
    def rows(self) -> Rows:
        """The rows alone: the part that a loader's worker reads."""
        names = Rows.__dataclass_fields__
        return Rows(**{name: getattr(self, name) for name in names})

    @property
    def trust(self) -> float:
        """T in [0, 1], how far the given neighbours deserve to be followed.

            T = 2 L / (1 + L) min(1, max(0, (M - 0.15) / 0.15))

        L is how far a given neighbour passes for a second view of the sample, by how
        often the encoder finds it nearer than the sample itself a pass before, and in
        the first pass nearer than the neighbours of others: 0 for random neighbours
        and for what chance may have brought. M
        is the share of the given edges i -> j for which there is j -> i: where it is
        low, most edges lead to hubs. With "auto" the weight is T, and an edge is not
        followed that is not returned and leads further away than those of others.
        """
        return self.evidence.trust

    def follow(self, *, warming_up: bool | None = None) -> None:
        """Set how far `sample` follows the rows from now on.

        Args:
            warming_up: Follow nothing until this is set to False again.
        """
        self.warming_up = self.warming_up if warming_up is None else warming_up
        given = self.field_weight
        weight = self.trust if isinstance(given, str) else given
        self.active_weight.fill_(0 if self.warming_up else weight)

    @torch.no_grad()
    def initialize(self, features: Any) -> None:
        """Start from the nearest neighbours by cosine similarity of given features.

        A sample whose features are zero has no neighbours, and stays one-hot. So do all
        samples where all features have the same direction. A warning says so.

        Args:
            features: (N, F) tensor or array: pixels, descriptors, another encoder's
                embeddings. Centre them if their mean says nothing. The search runs on
                their device.

        Raises:
            ValueError: The shape is not (N, F), or a value is not finite; the field is
                left as it was.
        """
        unit = directions_of(features, self.num_samples)
        directed = unit.any(dim=1)
        ids, similarities = neighbors_of_all(unit, directed, self.neighbors)
        weights = response(similarities, self.teacher_temperature)
        if self.mixture == LOG_LINEAR:
            self.prior.copy_(gram_factors(unit))
        alone = ~directed | (ids[:, 0] == UNFILLED)
        self.ids.copy_(ids.masked_fill(alone[:, None], UNFILLED))
        self.weights.copy_(weights.masked_fill(alone[:, None], 0))
        self.self_mass.copy_(alone)
        self.prior_share.fill_(1)
        self.doubted.fill_(False)
        self.evidence.restart(self.ids)
        self.follow()

    def sample(self, index: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw a partner for each sample from its row, mixed by `field_weight`.

            j ~ (1 - w (1 - m_i)) onehot(i) + w (1 - m_i) row_i / sum(row_i)

        Args:
            index: (B,) integers.
            generator: Generator of the draws, on the CPU; torch's default one when not
                given.

        Returns:
            (B,) int64, on the CPU.

        Raises:
            ValueError: The index holds no integers, or one outside [0, N).
        """
        return self.rows.sample(checked_index(index, self.num_samples), generator)

    def target(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The raw rows of samples.

        Args:
            index: (B,) integers.

        Returns:
            ids (B, k) int64, -1 where a slot is unfilled; weights (B, k) float32,
            heaviest first; self mass (B,) float32; all on the CPU. Weights and self
            mass sum to 1.

        Raises:
            ValueError: The index holds no integers, or one outside [0, N).
        """
        index = checked_index(index, self.num_samples)
        return self.ids[index].long(), self.weights[index], self.self_mass[index]

    @torch.no_grad()
    def update(
        self, index: Tensor, embeddings: Tensor, coupling: float | None = None
    ) -> None:
        """Store embeddings, and move the rows of their samples by one step of p.

        Call it once every optimizer step, after `backward`. A sample that occurs
        several times gets the normalised mean of its normalised embeddings, and one
        update of its row. If its embeddings are zero or cancel, it is left as it was.
        Of several processes each is given the embeddings of all, as `FieldCallback`
        does: where the field is part of its module, DistributedDataParallel puts the
        first process's field in place of the others'.

        Args:
            index: (B,) integers.
            embeddings: (B, D), any floating dtype; normalised here.
            coupling: a of this update, in [0, 1]; the field's own when not given.

        Raises:
            ValueError: The index holds no integers, or one outside [0, N), a shape is
                wrong, an embedding is not finite, or a log-linear field was never
                initialised and the coupling is above 0; the field is left as it was.
        """
        coupling = self.coupling if coupling is None else coupling
        check_range("coupling", coupling, 0, 1)
        index = checked_index(index, self.num_samples)
        embeddings = checked_embeddings(embeddings, len(index), self.dim)
        if coupling > 0:
            check_start(self, index)
        device = self.embeddings.device
        samples, latest = mean_of_samples(
            index.to(device), unit_rows(embeddings.to(device))
        )
        self.updates += 1
        judge(self, samples, latest)
        self.embeddings[samples] = latest.to(self.embeddings.dtype)
        self.valid[samples] = True
        if coupling > 0 and len(samples) > 0:
            MIXTURES[self.mixture](self, samples, latest, coupling)

    def row_entropy(self) -> Tensor:
        """Entropy (N,) of each row in nats, its self mass included."""
        return self.rows.entropy()

    def _apply(self, fn: Any, recurse: bool = True) -> "ResponseField":
        """Move the embeddings between devices; rows stay where workers read them."""
        self.valid = fn(self.valid)
        if self.embeddings_file is not None:
            self.valid = self.valid.cpu()
        self.embeddings = self.embeddings.to(self.valid.device)
        if self.mixture == LOG_LINEAR:
            self.prior = self.prior.to(self.valid.device)
        return self

    def extra_repr(self) -> str:
        """The options, as `print(field)` shows them."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in SHOWN.split())
