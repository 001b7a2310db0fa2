"""Loaders: batches on the device, from its memory or from disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fer_lightning.data.augmentation.engine import Engine
from fer_lightning.data.cache.read_rows import read_rows
from fer_lightning.data.loading.dataset import Batch, IndexedBatch, SplitImages
from fer_lightning.data.loading.sampler import BatchIndices, TrainBatchSampler

_BLOCK_BYTES = 16 << 20  # augmentation needs up to sixteen times as much


class BatchSampler(Protocol):
    """Yields the indices of one epoch, batch by batch."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[BatchIndices]: ...


class ResidentLoader:
    """Batches of images that are kept in the memory of the device.

    On a GPU several batches are augmented as one block, because launching the small operations for a single batch can
    take longer than a training step. The augmentation of an image does not depend on its block.

    Args:
        images: of one split, all of them.
        sampler: yields the indices of each batch.
        device: where the images are kept.
        engine: augments there; None for no augmentation.
        block_bytes: of images that are augmented together; None for 16 MB, and on a CPU, whose caches are small, a
            single batch.
    """

    def __init__(
        self,
        images: SplitImages,
        sampler: BatchSampler,
        device: torch.device,
        engine: Engine | None = None,
        block_bytes: int | None = None,
    ) -> None:
        self.split = load_split(images, device)
        self.indices, self.engine = sampler, engine  # not `sampler`: Lightning would take this for a DataLoader
        most = block_bytes if block_bytes is not None else 0 if device.type == "cpu" else _BLOCK_BYTES
        self._block = most // self.split.batch.images[:1].numel()

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Batch]:
        epoch = list(self.indices)
        if not epoch:
            return
        rows, repeats = self._upload([one.rows for one in epoch]), self._upload([one.repeats for one in epoch])
        begin, end, sizes = 0, 0, list[int]()
        for number, one in enumerate(epoch, start=1):
            sizes.append(len(one.rows))
            end += len(one.rows)
            if end - begin >= self._block or number == len(epoch):
                batch = self._make_block(rows[begin:end], repeats[begin:end], one.epoch)
                for parts in zip(*(torch.split(part, sizes) for part in batch), strict=True):
                    yield Batch(*parts)
                begin, sizes = end, []

    def _make_block(self, rows: Tensor, repeats: Tensor, epoch: int) -> Batch:
        batch = Batch(*(part[rows] for part in self.split.batch))
        if self.engine is None:
            return batch
        return batch._replace(images=self.engine(batch.images, epoch, self.split.rows[rows], repeats))

    def _upload(self, columns: list[np.ndarray]) -> Tensor:
        """Send the indices of the whole epoch at once, so that no batch waits for a copy."""
        column, device = torch.from_numpy(np.concatenate(columns)), self.split.rows.device
        return column.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else column.to(device)


class _ShutsDownWorkers:
    """Lets Lightning shut down the worker processes when a run ends, through the attribute it uses of a DataLoader.

    Otherwise the garbage collector does, and waits for each of them until a timeout.
    """

    batches: Any  # a DataLoader, or another of these

    @property
    def _iterator(self) -> Any:
        return getattr(self.batches, "_iterator", None)

    @_iterator.setter
    def _iterator(self, iterator: Any) -> None:
        self.batches._iterator = iterator


class StreamedLoader(_ShutsDownWorkers):
    """Batches that are read from disk when they are needed.

    Args:
        images: of one split, with the engine that augments them in the workers, if any.
        sampler: yields the indices of each batch.
        device: where the batches go.
        engine: augments on the device; None for no augmentation.
        **options: of DataLoader.
    """

    def __init__(
        self,
        images: SplitImages,
        sampler: BatchSampler,
        device: torch.device,
        engine: Engine | None = None,
        **options: Any,
    ) -> None:
        self.batches = DataLoader(images, batch_sampler=sampler, collate_fn=_identity, **options)  # type: ignore[arg-type]
        self.device, self.engine = device, engine

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        for indexed in self.batches:
            batch, rows, repeats, epoch = _to(indexed, self.device)
            if self.engine is not None:
                batch = batch._replace(images=self.engine(batch.images, epoch, rows, repeats))
            yield batch


class TrainLoader(_ShutsDownWorkers):
    """Keeps a loader in step with Lightning's Trainer.

    On resuming, Lightning creates the iterator before it calls `set_epoch`, so the workers of a plain DataLoader, which
    prefetch, repeat the batches of epoch 0. Here no index is drawn before the first batch is requested. `state_dict`
    lets a checkpoint from the middle of an epoch resume there.

    Args:
        batches: iterated once per epoch.
        batch_sampler: the sampler of `batches`; Lightning sets its epoch.
        trained: returns how many batches of this epoch were trained on, for checkpoints written within a step (on
            Ctrl-C, say); None counts each batch that was yielded.
    """

    def __init__(
        self, batches: Iterable[Any], batch_sampler: TrainBatchSampler, trained: Callable[[], int] | None = None
    ) -> None:
        self.batches, self.batch_sampler, self._trained = batches, batch_sampler, trained
        self._yielded = {"epoch": 0, "batch": 0}  # epoch of the last batch, and how many of it were yielded

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        first, epoch = self.batch_sampler.first_batch, self.batch_sampler.epoch
        for count, batch in enumerate(self.batches, start=first + 1):
            self._yielded = {"epoch": epoch, "batch": count}
            yield batch

    def state_dict(self) -> dict[str, int]:
        if self._trained is None:
            return self._yielded
        return {**self._yielded, "batch": min(self._yielded["batch"], self._trained())}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._yielded = state
        self.batch_sampler.resume_at(state["epoch"], state["batch"])


def load_split(images: SplitImages, device: torch.device) -> IndexedBatch:
    """Return all images of a split in order, on a device; copied in blocks, to save memory of the host."""
    count, shape = len(images), images.images.shape[1:]
    step = max(1, _BLOCK_BYTES // math.prod(shape))
    pixels = torch.empty((count, *shape), dtype=torch.uint8, device=device)
    for begin in range(0, count, step):
        rows = np.arange(begin, min(begin + step, count))
        pixels[begin : begin + step] = torch.from_numpy(read_rows(images.images, images.rows[rows])).to(device)
    columns = (images.labels, images.index, images.rows)
    labels, index, cache_rows = (torch.from_numpy(column.astype(np.int64)).to(device) for column in columns)
    return IndexedBatch(Batch(pixels, labels, index), cache_rows, torch.zeros_like(cache_rows), epoch=0)


def _to(indexed: IndexedBatch, device: torch.device) -> IndexedBatch:
    if device.type == "cpu":
        return indexed
    batch = Batch(*(part.to(device, non_blocking=True) for part in indexed.batch))
    rows, repeats = (part.to(device, non_blocking=True) for part in (indexed.rows, indexed.repeats))
    return IndexedBatch(batch, rows, repeats, indexed.epoch)


def _identity(indexed: IndexedBatch) -> IndexedBatch:
    """Collate nothing: the dataset returns whole batches. Not a lambda, which spawned workers cannot unpickle."""
    return indexed
