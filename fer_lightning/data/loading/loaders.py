"""Loaders: from an order of rows to batches on the device, out of its memory or from disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fer_lightning.data.cache.read_rows import read_rows
from fer_lightning.data.loading.dataset import Batch, Engine, IndexedBatch, SplitImages
from fer_lightning.data.loading.sampler import Draws, TrainBatchSampler

_BLOCK_BYTES = 16 << 20  # augmenting takes up to sixteen times as much for a moment


class BatchSampler(Protocol):
    """Gives the draws of one epoch, batch by batch."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Draws]: ...


class ResidentLoader:
    """Batches of images that lie in the memory of the device.

    A GPU cuts its batches out of blocks of many, because there a step can take less time than the launching of all the
    small operations that augment one batch. The draws of an image do not depend on what else is in its block.

    Args:
        images: of one split, all of them.
        sampler: what to draw.
        device: where the images shall lie.
        engine: augments there; None leaves the images as they are.
        block_bytes: of images that are augmented together; None for 16 MB, and on a CPU, whose caches are small, for a
            batch at a time.
    """

    def __init__(
        self,
        images: SplitImages,
        sampler: BatchSampler,
        device: torch.device,
        engine: Engine | None = None,
        block_bytes: int | None = None,
    ) -> None:
        self.whole = gather(images, device)
        self.draws, self.engine = sampler, engine  # not `sampler`, by which Lightning knows a DataLoader
        most = block_bytes if block_bytes is not None else 0 if device.type == "cpu" else _BLOCK_BYTES
        self._block = most // self.whole.batch.images[:1].numel()

    def __len__(self) -> int:
        return len(self.draws)

    def __iter__(self) -> Iterator[Batch]:
        draws = list(self.draws)
        if not draws:
            return
        rows, repeats = self._upload([one.rows for one in draws]), self._upload([one.repeats for one in draws])
        begin, end, sizes = 0, 0, list[int]()
        for number, one in enumerate(draws, start=1):
            sizes.append(len(one.rows))
            end += len(one.rows)
            if end - begin >= self._block or number == len(draws):
                batch = self._cut(rows[begin:end], repeats[begin:end], one.epoch)
                for parts in zip(*(part.split(sizes) for part in batch), strict=True):
                    yield Batch(*parts)
                begin, sizes = end, []

    def _cut(self, rows: Tensor, repeats: Tensor, epoch: int) -> Batch:
        batch = Batch(*(part[rows] for part in self.whole.batch))
        if self.engine is None:
            return batch
        return batch._replace(images=self.engine(batch.images, epoch, self.whole.rows[rows], repeats))

    def _upload(self, columns: list[np.ndarray]) -> Tensor:
        """Send what the whole epoch draws at once, so that no batch waits for a copy."""
        column, device = torch.from_numpy(np.concatenate(columns)), self.whole.rows.device
        return column.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else column.to(device)


class _EndsWorkers:
    """Lets Lightning end the loader processes when a run ends, as it does for a DataLoader, by the name it knows.

    Otherwise they end when the garbage collector finds them, which then waits for each of them in vain.
    """

    batches: Any  # from a DataLoader, perhaps with one of these between

    @property
    def _iterator(self) -> Any:
        return getattr(self.batches, "_iterator", None)

    @_iterator.setter
    def _iterator(self, iterator: Any) -> None:
        self.batches._iterator = iterator


class StreamedLoader(_EndsWorkers):
    """Batches that are read from disk when they are due.

    Args:
        images: of one split; what they are augmented by in the loader processes goes with them.
        sampler: what to draw.
        device: where the batches shall lie.
        engine: augments on the device; None leaves the images as they are.
        **options: of DataLoader: how many processes, and how they hand over.
    """

    def __init__(
        self,
        images: SplitImages,
        sampler: BatchSampler,
        device: torch.device,
        engine: Engine | None = None,
        **options: Any,
    ) -> None:
        self.batches = DataLoader(images, batch_sampler=sampler, collate_fn=_as_it_is, **options)  # type: ignore[arg-type]
        self.device, self.engine = device, engine

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        for drawn in self.batches:
            batch, rows, repeats, epoch = _to(drawn, self.device)
            if self.engine is not None:
                batch = batch._replace(images=self.engine(batch.images, epoch, rows, repeats))
            yield batch


class TrainLoader(_EndsWorkers):
    """Keeps the draws of a loader in step with Lightning's Trainer.

    When resuming, Lightning makes the iterator before it calls `set_epoch`, and workers of a plain DataLoader, which
    fetch ahead, repeat the batches of epoch 0: here nothing is drawn before the first batch is asked for. And a
    checkpoint from the middle of an epoch keeps its place there, through `state_dict`; a plain one starts it over.

    Args:
        batches: iterated anew each epoch.
        batch_sampler: what `batches` draws by; Lightning tells it the epoch.
        trained: tells how many batches of this epoch were trained on, for checkpoints written within a step (on Ctrl-C,
            say); None takes each batch that was handed out for trained.
    """

    def __init__(
        self, batches: Iterable[Any], batch_sampler: TrainBatchSampler, trained: Callable[[], int] | None = None
    ) -> None:
        self.batches, self.batch_sampler, self._trained = batches, batch_sampler, trained
        self._given = {"epoch": 0, "batch": 0}  # epoch of the batch that was handed out last, and how many were

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        first, epoch = self.batch_sampler.first_batch, self.batch_sampler.epoch
        for count, batch in enumerate(self.batches, start=first + 1):
            self._given = {"epoch": epoch, "batch": count}
            yield batch

    def state_dict(self) -> dict[str, int]:
        if self._trained is None:
            return self._given
        return {**self._given, "batch": min(self._given["batch"], self._trained())}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._given = state
        self.batch_sampler.resume_at(state["epoch"], state["batch"])


def gather(images: SplitImages, device: torch.device) -> IndexedBatch:
    """Return all images of a split in their order, on a device; the host holds a small part of them at a time."""
    count, shape = len(images), images.images.shape[1:]
    step = max(1, _BLOCK_BYTES // math.prod(shape))
    pixels = torch.empty((count, *shape), dtype=torch.uint8, device=device)
    for begin in range(0, count, step):
        rows = np.arange(begin, min(begin + step, count))
        pixels[begin : begin + step] = torch.from_numpy(read_rows(images.images, images.rows[rows])).to(device)
    columns = (images.labels, images.index, images.rows)
    labels, index, rows = (torch.from_numpy(column.astype(np.int64)).to(device) for column in columns)
    return IndexedBatch(Batch(pixels, labels, index), rows, torch.zeros_like(rows), epoch=0)


def _to(drawn: IndexedBatch, device: torch.device) -> IndexedBatch:
    if device.type == "cpu":
        return drawn
    batch = Batch(*(part.to(device, non_blocking=True) for part in drawn.batch))
    rows, repeats = (part.to(device, non_blocking=True) for part in (drawn.rows, drawn.repeats))
    return IndexedBatch(batch, rows, repeats, drawn.epoch)


def _as_it_is(drawn: IndexedBatch) -> IndexedBatch:
    """The dataset gives whole batches; a named function, because spawned workers cannot pickle a lambda."""
    return drawn
