"""Batch samplers: which images are read, in which order, by which process.

Every order is a function of (seed, epoch) alone, and the ranks of a distributed run take their parts of that one order.
So the same seed repeats the same batches, and a resumed run continues with the batches of an uninterrupted one. Because
the samplers know the ranks, the Trainer needs `use_distributed_sampler=False`; with True Lightning refuses them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch.distributed as dist
from torch.utils.data import Sampler

from fer_lightning.core.suggestions import did_you_mean
from fer_lightning.data.loading.epoch_order import STRATEGIES, count_repeats, epoch_order, fixed_order


class BatchIndices(NamedTuple):
    """The indices of one batch; a repeated image is augmented differently."""

    rows: np.ndarray  # int64 (B,), which images
    repeats: np.ndarray  # int64 (B,), how often each occurred before in this epoch, over all ranks
    epoch: int  # persistent workers learn it from here


class _RankedSampler(Sampler[BatchIndices]):
    """A sampler that knows the ranks of a distributed run."""

    def __init__(self, batch_size: int, rank: int | None, world_size: int | None) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be 1 or more")
        if (rank is None) != (world_size is None):
            raise ValueError(f"rank={rank} and world_size={world_size} must be given together")
        if rank is not None and world_size is not None and not 0 <= rank < world_size:
            raise ValueError(f"rank={rank} must lie between 0 and world_size - 1 = {world_size - 1}")
        self.batch_size = batch_size
        self._given = (rank, world_size)

    def _ranks(self) -> tuple[int, int]:
        """Return the rank of this process, and how many there are."""
        rank, world_size = self._given
        if rank is not None and world_size is not None:
            return rank, world_size
        if dist.is_available() and dist.is_initialized():
            return dist.get_rank(), dist.get_world_size()
        return 0, 1


class TrainBatchSampler(_RankedSampler):
    """Batches for training; each rank gets the same number of batches, of the same sizes.

    The strategies:
        shuffle: each image once an epoch, in a new order.
        balanced: each class equally often (to within one image), in as many draws as there are images. The images of
            a class come from shuffled decks that last across epochs: none is repeated before all were drawn.
        sequential: each image once an epoch, in the order of `fixed_order`.

    Rank r takes every `world_size`-th image, so W ranks with batches of B see, step by step, the same images as one
    process with batches of W * B.

    Args:
        labels: (N,) int, class of each row; N at least 1.
        batch_size: images per batch and rank.
        strategy: one of the above.
        seed: 0 or more; the same on all ranks.
        drop_last: leave out the images that do not fill a batch on each rank; otherwise, and if there is no full batch
            at all, a smaller batch comes last, filled up with at most `world_size - 1` repeated images.
        rank, world_size: of this process, and number of processes; None asks torch.distributed, when iterating.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        labels: np.ndarray | Sequence[int],
        batch_size: int,
        *,
        strategy: str,
        seed: int,
        drop_last: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        super().__init__(batch_size, rank, world_size)
        if strategy not in STRATEGIES:
            hint = did_you_mean(strategy, STRATEGIES)
            raise ValueError(f"strategy={strategy!r} must be one of {', '.join(STRATEGIES)}{hint}")
        if seed < 0:
            raise ValueError(f"seed={seed} must be 0 or more")
        self.labels = np.asarray(labels)
        if self.labels.ndim != 1 or len(self.labels) == 0:
            raise ValueError(f"labels must be of shape (N,) with N at least 1, not {self.labels.shape}")
        self.strategy, self.seed, self.epoch = strategy, seed, 0
        self._drop_last = drop_last  # private: with a public one Lightning would take this for a BatchSampler
        self._resume = (0, 0)

    @property
    def sampler(self) -> TrainBatchSampler:
        """This sampler: Lightning calls `set_epoch` on `batch_sampler.sampler` only."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch (0 or more) of the next iteration."""
        self.epoch = epoch

    def resume_at(self, epoch: int, batch: int) -> None:
        """Skip the first `batch` batches of the next iteration, if that is of this epoch."""
        self._resume = (epoch, batch)

    @property
    def first_batch(self) -> int:
        """Number of the batch that the next iteration starts with."""
        epoch, batch = self._resume
        return batch if epoch == self.epoch else 0

    def __len__(self) -> int:
        """Return the batches of a whole epoch on this rank, whether or not resumed."""
        return len(self._batch_sizes(self._ranks()[1]))

    def __iter__(self) -> Iterator[BatchIndices]:
        rank, world_size = self._ranks()
        epoch, first = self.epoch, self.first_batch
        self._resume = (0, 0)  # only once
        sizes = self._batch_sizes(world_size)
        # resize repeats rows from the start to fill the last batch, or cuts off what drop_last leaves out
        rows = np.resize(epoch_order(self.labels, self.strategy, self.seed, epoch), sum(sizes) * world_size)
        again = self.strategy == "balanced" or len(rows) > len(self.labels)  # counting takes a sort
        repeats = (count_repeats(rows) if again else np.zeros_like(rows))[rank::world_size]
        rows = rows[rank::world_size]
        stops = np.cumsum(sizes)
        for start, stop in list(zip(stops - sizes, stops, strict=True))[first:]:
            yield BatchIndices(rows[start:stop], repeats[start:stop], epoch)

    def _batch_sizes(self, world_size: int) -> list[int]:
        full, rest = divmod(len(self.labels), self.batch_size * world_size)
        sizes = [self.batch_size] * full
        if rest and (full == 0 or not self._drop_last):
            sizes.append(-(-rest // world_size))
        return sizes


class EvaluationBatchSampler(_RankedSampler):
    """Batches of rows, each exactly once over all ranks, always in the order of `fixed_order`.

    Each rank yields the same number of batches, because the forward pass of a distributed model waits for the others.
    The batches of one step differ in size by at most one image; the last may be empty on some ranks. `count` is the
    number of rows, 0 or more; the other arguments are those of `TrainBatchSampler`.
    """

    def __init__(self, count: int, batch_size: int, rank: int | None = None, world_size: int | None = None) -> None:
        super().__init__(batch_size, rank, world_size)
        if count < 0:
            raise ValueError(f"count={count} must be 0 or more")
        self.count = count

    def __len__(self) -> int:
        return -(-self.count // (self.batch_size * self._ranks()[1]))

    def __iter__(self) -> Iterator[BatchIndices]:
        rank, world_size = self._ranks()
        rows = fixed_order(self.count)[rank::world_size]
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            part = rows[start : start + self.batch_size]
            yield BatchIndices(part, np.zeros_like(part), epoch=0)
