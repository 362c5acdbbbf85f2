"""The EMA response-field memory bank."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rkdo_plugin.field.rows import UNFILLED, Rows, mix_rows
from rkdo_plugin.field.search import exact_neighbors, sampled_neighbors
from rkdo_plugin.options import check_choice, check_range, check_temperature

SEARCHES = ("exact", "sampled")
FORMAT = 1  # of the saved state; a newer one is refused
INITIAL_CHUNK = 1024  # samples whose first neighbours are searched at a time


class ResponseField(nn.Module):
    r"""p(.|i) for every sample i of a data set, updated through the whole training.

        p_t(.|i) = (1 - a) p_{t-1}(.|i) + a q_{t-1}(.|i)

    q is the softmax of cosine similarity over the nearest of the embeddings seen last,
    without i itself. Only the `neighbors` heaviest entries of a row are kept, beside
    the mass on i. The start is one-hot, plain contrastive learning: all mass on i. The
    rows are in shared memory, where a data loader's workers read them.

    Args:
        num_samples: N, of the data set.
        dim: D, of the embeddings.
        neighbors: k, entries kept of a row.
        coupling: a, in [0, 1]. 0 keeps the rows as they were initialised.
        teacher_temperature: Of the softmax q.
        field_weight: w, in [0, 1], how far `sample` follows the rows.
        search: "exact" looks for neighbours among all samples; "sampled" among
            `search_samples` random ones, the step's own and the row so far, at a cost
            that hardly grows with N.
        embedding_dtype: Of the stored embeddings; float16 halves their memory.
        search_samples: Candidates of the sampled search.
        seed: Of the sampled search.
        embeddings_file: Keep the embeddings in this file, memory-mapped, where they
            are larger than memory; a file of another size is an error.

    Raises:
        ValueError: An option is outside its range.

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

    def __init__(
        self,
        num_samples: int,
        dim: int,
        neighbors: int = 8,
        coupling: float = 0.5,
        teacher_temperature: float = 0.05,
        field_weight: float = 0.5,
        search: str = "exact",
        embedding_dtype: torch.dtype = torch.float16,
        *,
        search_samples: int = 2048,
        seed: int = 0,
        embeddings_file: str | Path | None = None,
    ) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"Expected `dim` to be at least 1 but got {dim}")
        if not 1 <= neighbors < num_samples:
            raise ValueError(
                "Expected `neighbors` to be at least 1 and less than `num_samples`, "
                f"{num_samples}, but got {neighbors}"
            )
        if search_samples < 1:
            raise ValueError(
                f"Expected `search_samples` to be at least 1 but got {search_samples}"
            )
        if not embedding_dtype.is_floating_point:
            raise ValueError(
                f"Expected `embedding_dtype` to be floating but got {embedding_dtype}"
            )
        check_range("coupling", coupling, 0, 1)
        check_temperature(teacher_temperature)
        check_range("field_weight", field_weight, 0, 1)
        check_choice("search", search, SEARCHES)
        self.num_samples = num_samples
        self.dim = dim
        self.neighbors = neighbors
        self.coupling = coupling
        self.teacher_temperature = teacher_temperature
        self.field_weight = field_weight
        self.search = search
        self.search_samples = search_samples
        self.seed = seed
        self.fingerprint: str | None = None
        shape = (num_samples, neighbors)
        rows = {
            "ids": torch.full(shape, UNFILLED, dtype=torch.int32),
            "weights": torch.zeros(shape),
            "self_mass": torch.ones(num_samples),
            "active_weight": torch.tensor(float(field_weight)),
        }
        for name, row in rows.items():
            self.register_buffer(name, row.share_memory_())  # type: ignore[no-untyped-call]
        self.register_buffer(
            "embeddings",
            torch.zeros(num_samples, dim, dtype=embedding_dtype)
            if embeddings_file is None
            else _mapped(Path(embeddings_file), num_samples, dim, embedding_dtype),
        )
        self.register_buffer("valid", torch.zeros(num_samples, dtype=torch.bool))
        self.register_buffer("updates", torch.tensor(0))

    @property
    def rows(self) -> Rows:
        """The rows alone: the part that a loader's worker reads."""
        return Rows(self.ids, self.weights, self.self_mass, self.active_weight)

    @torch.no_grad()
    def initialize(self, features: Any) -> None:
        """Start from the nearest neighbours by cosine similarity of given features.

        Args:
            features: (N, F) tensor or array of any floating dtype: pixels, descriptors,
                another encoder's embeddings. Centre them if their mean says nothing.

        Raises:
            ValueError: The shape is not (N, F), or a value is not finite; the field is
                left as it was.
        """
        features = torch.as_tensor(features)
        if features.ndim != 2 or len(features) != self.num_samples:
            raise ValueError(
                f"Expected `features` to have shape ({self.num_samples}, F) but got "
                f"{tuple(features.shape)}"
            )
        _check_finite("features", features)
        unit = functional.normalize(features.float(), dim=1)
        for own in torch.split(torch.arange(len(unit)), INITIAL_CHUNK):
            ids, similarities = exact_neighbors(
                unit[own], unit, None, own.to(unit.device), self.neighbors
            )
            self.ids[own] = ids.to("cpu", torch.int32)
            self.weights[own] = self._response(similarities).cpu()
        self.self_mass.zero_()

    def sample(self, index: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw a partner for each sample from its row, mixed by `field_weight`.

            j ~ (1 - w (1 - m_i)) onehot(i) + w (1 - m_i) row_i / sum(row_i)

        Args:
            index: (B,) integers.
            generator: Of the draws, on the CPU; torch's default one when not given.

        Returns:
            (B,) int64, on the CPU.

        Raises:
            ValueError: An index is outside [0, N).
        """
        return self.rows.sample(self._checked_index(index), generator)

    def target(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The raw rows of samples.

        Args:
            index: (B,) integers.

        Returns:
            ids (B, k) int64, -1 where a slot is unfilled; weights (B, k) float32; self
            mass (B,) float32. Weights and self mass sum to 1.

        Raises:
            ValueError: An index is outside [0, N).
        """
        index = self._checked_index(index)
        return self.ids[index].long(), self.weights[index], self.self_mass[index]

    @torch.no_grad()
    def update(self, index: Tensor, embeddings: Tensor) -> None:
        """Store embeddings, and move the rows of their samples: equation (3), one step.

        Call it once an optimizer step, after `backward`. A sample that occurs several
        times gets the normalised mean of its embeddings and one update of its row.

        Args:
            index: (B,) integers.
            embeddings: (B, D), any floating dtype; normalised here.

        Raises:
            ValueError: An index is outside [0, N), a shape is wrong or an embedding is
                not finite; the field is left as it was.
        """
        index = self._checked_index(index)
        if embeddings.shape != (len(index), self.dim):
            raise ValueError(
                f"Expected `embeddings` to have shape ({len(index)}, {self.dim}), one "
                f"row for each index, but got {tuple(embeddings.shape)}"
            )
        _check_finite("embeddings", embeddings)
        device = self.embeddings.device
        samples, which = torch.unique(index, return_inverse=True)
        unit = functional.normalize(embeddings.detach().to(device).float(), dim=1)
        sums = unit.new_zeros(len(samples), self.dim).index_add_(
            0, which.to(device), unit
        )
        latest = functional.normalize(sums, dim=1)
        self.updates += 1
        self.embeddings[samples.to(device)] = latest.to(self.embeddings.dtype)
        self.valid[samples.to(device)] = True
        if self.coupling > 0 and len(samples) > 0:
            self._move_rows(samples, latest)

    def _move_rows(self, samples: Tensor, latest: Tensor) -> None:
        """P <- (1 - a) p + a q for the rows of unique samples (B,)."""
        ids, weights, self_mass = self.target(samples)
        own, device = samples.to(latest.device), latest.device
        if self.search == "exact":
            new_ids, similarities = exact_neighbors(
                latest, self.embeddings, self.valid, own, self.neighbors
            )
        else:
            # From the number of the update, so that a resumed run, and every process
            # of a distributed one, draws the same candidates.
            generator = torch.Generator().manual_seed(
                self.seed * 2**32 + int(self.updates)
            )
            sampled = torch.randint(
                self.num_samples, (self.search_samples,), generator=generator
            )
            new_ids, similarities = sampled_neighbors(
                latest,
                self.embeddings,
                self.valid,
                own,
                ids.to(device),
                sampled.to(device),
                self.neighbors,
            )
        new_weights = self._response(similarities).cpu()
        ids, weights = mix_rows(ids, weights, new_ids.cpu(), new_weights, self.coupling)
        # Without any neighbour there is no q, and the row waits for one.
        found = new_ids[:, 0].cpu() != UNFILLED
        samples = samples[found]
        self.ids[samples] = ids[found].int()
        self.weights[samples] = weights[found]
        self.self_mass[samples] = (1 - self.coupling) * self_mass[found]

    def _response(self, similarities: Tensor) -> Tensor:
        """q: softmax of similarities (B, k); zeros where there is no neighbour."""
        q = torch.softmax(similarities / self.teacher_temperature, dim=1)
        return q.nan_to_num(0)

    def row_entropy(self) -> Tensor:
        """Entropy (N,) of each row in nats, its self mass included."""
        of_neighbors: Tensor = torch.special.entr(self.weights).sum(dim=1)
        of_itself: Tensor = torch.special.entr(self.self_mass)
        return of_neighbors + of_itself

    def get_extra_state(self) -> dict[str, Any]:
        """What a saved field must agree with when it is loaded."""
        return {
            "format": FORMAT,
            "num_samples": self.num_samples,
            "dim": self.dim,
            "neighbors": self.neighbors,
            "fingerprint": self.fingerprint,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take over the fingerprint; `_load_from_state_dict` has checked the rest."""
        self.fingerprint = self.fingerprint or state["fingerprint"]

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any
    ) -> None:
        saved = state_dict.get(f"{prefix}_extra_state", {})
        if saved.get("format", FORMAT) > FORMAT:
            raise ValueError(
                f"Expected a field of format {FORMAT} or older but got "
                f"{saved['format']}: it was saved by a newer version of rkdo-plugin"
            )
        for name, own in self.get_extra_state().items():
            other = saved.get(name)
            if name != "format" and None not in (own, other) and own != other:
                raise ValueError(
                    f"Expected a field with {name} {own} but the saved one has {other}"
                    + ("; the data set is another" if name == "fingerprint" else "")
                )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _apply(self, fn: Any, recurse: bool = True) -> "ResponseField":
        """Move the embeddings between devices; rows stay where workers read them."""
        dtype = self.embeddings.dtype
        self.embeddings = fn(self.embeddings).to(dtype)
        self.valid = fn(self.valid)
        return self

    def _checked_index(self, index: Tensor) -> Tensor:
        """The index on the CPU as (B,) int64."""
        if index.ndim != 1 or index.is_floating_point() or index.dtype == torch.bool:
            raise ValueError(
                "Expected `index` to hold integers (B,) but got "
                f"{tuple(index.shape)} of {index.dtype}"
            )
        index = index.to("cpu", torch.int64)
        for wrong in index[(index < 0) | (index >= self.num_samples)][:1].tolist():
            raise ValueError(
                f"Expected `index` to hold values in [0, {self.num_samples}) but got "
                f"{wrong}"
            )
        return index

    def extra_repr(self) -> str:
        """The options, as `print(field)` shows them."""
        return (
            f"num_samples={self.num_samples}, dim={self.dim}, "
            f"neighbors={self.neighbors}, coupling={self.coupling}, "
            f"teacher_temperature={self.teacher_temperature}, "
            f"field_weight={self.field_weight}, search={self.search!r}"
        )


def _check_finite(name: str, values: Tensor) -> None:
    finite = values.isfinite()
    if not finite.all():
        row, column = (~finite).nonzero()[0].tolist()
        raise ValueError(
            f"Expected `{name}` to be finite but got {values[row, column].item()} in "
            f"row {row}"
        )


def _mapped(path: Path, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """A tensor (rows, columns) in a file, which is created where there is none."""
    size = rows * columns * dtype.itemsize
    if path.exists() and path.stat().st_size != size:
        raise ValueError(
            f"Expected {path} to hold {size} bytes, ({rows}, {columns}) of {dtype}, "
            f"but it holds {path.stat().st_size}"
        )
    flat = torch.from_file(str(path), shared=True, size=rows * columns, dtype=dtype)
    return flat.view(rows, columns)
