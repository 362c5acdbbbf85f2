"""Batches that depend only on the seed and the number of the step.

Step n of a run sees the same images, augmented the same way, also in a run that was
interrupted, and with any number of workers. Every random number generator is seeded
from (seed, epoch, sample) before an image is augmented, and from (seed, step) before a
training step.
"""

import random
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from lightly.utils import dist
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from rkdo_plugin.field import FieldPairs, ResponseField
from rkdo_plugin.recipes.training.held import HeldBatches

LABELLED = 0.25  # share of a batch that is drawn from few labelled samples

Item = int | tuple[int, int]  # a sample's index, perhaps with its partner's
Key = tuple[int, Item]  # (epoch, item)


def seed_generators(*key: int) -> None:
    """Seed torch on every device, NumPy and Python from non-negative integers."""
    seed = _seed_cpu(*key)
    torch.manual_seed(seed)


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def _seed_cpu(*key: int) -> int:
    """Seed the generators of transforms, ten times as fast as torch.manual_seed."""
    seed = _seed(*key)
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    return seed


class SeededSamples(Dataset[Any]):
    """Items of a data set whose randomness depends on (seed, epoch, index) only."""

    def __init__(self, samples: Any, seed: int) -> None:
        self.samples = samples
        self.seed = seed

    def __getitem__(self, key: Key) -> Any:
        epoch, item = key
        self._seed_sample(epoch, item if isinstance(item, int) else item[0])
        return self.samples[item]

    def __getitems__(self, keys: list[Key]) -> list[Any]:
        """The items of a batch; `FieldPairs` load each sample of it once."""
        drawn = [item for _, item in keys if not isinstance(item, int)]
        if not isinstance(self.samples, FieldPairs) or len(drawn) < len(keys):
            return [self[key] for key in keys]
        batch, pairs = [], self.samples.in_turn(drawn)
        for (epoch, _), (index, _) in zip(keys, drawn, strict=True):
            self._seed_sample(epoch, index)
            batch.append(next(pairs))
        return batch

    def _seed_sample(self, epoch: int, index: int) -> None:
        _seed_cpu(self.seed, epoch, index)


class ShuffledBatches(Sampler[list[Key]]):
    """The batches from `step` to the end of its epoch; incomplete ones are dropped.

    With a response field, partners are drawn for a whole epoch at its start. Workers
    run ahead by a varying number of batches, so what they drew from rows that change
    meanwhile could not be repeated.

    Where few samples are labelled, a quarter of each batch is drawn from them, and an
    epoch is a pass over the others. In a distributed run every process takes its part
    of each batch.

    Attributes:
        step: Number of batches that were given out, over all epochs.
        partners: The partners (N,) of the current epoch; None before its start.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        seed: int,
        field: ResponseField | None,
        labelled: NDArray[np.int64] | None = None,
    ) -> None:
        self.unlabelled = np.arange(num_samples)
        self.labelled = np.arange(0)
        self.labelled_share = 0
        if labelled is not None and len(labelled) < num_samples:
            self.labelled = labelled
            self.unlabelled = np.setdiff1d(self.unlabelled, labelled)
            self.labelled_share = int(LABELLED * batch_size)
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        self.field = field
        self.step = 0
        self.partners: Tensor | None = None

    def __len__(self) -> int:
        return len(self.unlabelled) // (self.batch_size - self.labelled_share)

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, first = divmod(self.step, len(self))
        order = np.random.default_rng((self.seed, epoch)).permutation(self.unlabelled)
        size = self.batch_size - self.labelled_share
        batches = order[: len(self) * size].reshape(len(self), size)
        if self.field is not None and (first == 0 or self.partners is None):
            generator = torch.Generator().manual_seed(_seed(self.seed, epoch))
            self.partners = self.field.sample(torch.arange(self.num_samples), generator)
        rank, world = dist.rank(), dist.world_size()
        for number, batch in enumerate(batches[first:].tolist(), start=self.step):
            keys = [(epoch, index) for index in batch] + self._labelled_keys(number)
            if self.labelled_share:
                np.random.default_rng((self.seed, 2, number)).shuffle(keys)
            own = len(keys) // world
            yield self._with_partners(keys[rank * own : (rank + 1) * own])

    def _labelled_keys(self, step: int) -> list[tuple[int, int]]:
        """The labelled samples of a step: they recur more often than the others.

        The number of the round takes the place of the epoch in a key, so that a sample
        is augmented in another way each time.
        """
        keys: list[tuple[int, int]] = []
        start, count = step * self.labelled_share, len(self.labelled)
        for place in range(start, start + self.labelled_share):
            turn, position = divmod(place, count)
            if not keys or position == 0:
                generator = np.random.default_rng((self.seed, 1, turn))
                order = generator.permutation(self.labelled)
            keys.append((turn, int(order[position])))
        return keys

    def _with_partners(self, keys: list[tuple[int, int]]) -> list[Key]:
        if self.partners is None:
            return [*keys]
        partners = self.partners[[index for _, index in keys]].tolist()
        return [
            (epoch, (index, partner))
            for (epoch, index), partner in zip(keys, partners, strict=True)
        ]


class StepLoader(DataLoader[Any]):
    """Loads a data set for training; Lightning saves and restores its position.

    Args:
        samples: A map-style data set, for example of (views, label), or `HeldBatches`.
        batch_size: Number of images in a step, over all processes.
        seed: Non-negative seed of the order and of the augmentation.
        workers: Number of processes that load and augment; with 0 this process does.
        field: Draws the partners where the samples are `FieldPairs`.
        labelled: Indices of the labelled samples, if not all samples are labelled.

    Raises:
        ValueError: The data set is smaller than a batch, or a batch cannot be shared
            out evenly among the processes.

    Example:
        >>> loader = StepLoader(list(range(10)), batch_size=4, seed=0)
        >>> len(loader), [batch.shape for batch in loader]
        (2, [torch.Size([4]), torch.Size([4])])
    """

    def __init__(
        self,
        samples: Any,
        batch_size: int,
        seed: int,
        workers: int = 0,
        field: ResponseField | None = None,
        labelled: NDArray[np.int64] | None = None,
    ) -> None:
        if not 1 <= batch_size <= len(samples):
            raise ValueError(
                f"Expected a batch size from 1 to {len(samples)}, the number of "
                f"training images, but got {batch_size}"
            )
        self.batches = ShuffledBatches(len(samples), batch_size, seed, field, labelled)
        if len(self.batches) == 0:
            raise ValueError(
                "Expected a batch size of which three quarters are at most the "
                f"{len(self.batches.unlabelled)} images without a label but got "
                f"{batch_size}"
            )
        whole = isinstance(samples, HeldBatches)
        super().__init__(
            samples if whole else SeededSamples(samples, seed),
            batch_sampler=self.batches,
            num_workers=workers,
            collate_fn=_as_it_is if whole else None,
            persistent_workers=workers > 0,
            worker_init_fn=_ignore_interrupts,
        )

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            # Workers run ahead: the position counts what was trained on, not loaded.
            rank = [dist.rank()] if dist.rank() else []
            seed_generators(self.batches.seed, self.batches.step, *rank)
            self.batches.step += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The position and the epoch's partners, for the checkpoint."""
        return {"step": self.batches.step, "partners": self.batches.partners}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue at a saved position."""
        self.batches.step = state["step"]
        self.batches.partners = state.get("partners")


def _as_it_is(batch: Any) -> Any:
    return batch


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process, and the main one needs the workers for its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
