"""Loaders: batches on the device, from its memory or from disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fer_lightning.core.errors import CheckpointError
from fer_lightning.data.augmentation.engine import Engine
from fer_lightning.data.cache.read_rows import read_rows
from fer_lightning.data.loading.dataset import Batch, SplitImages
from fer_lightning.data.loading.sampler import EvaluationBatchSampler, TrainBatchSampler

BatchSampler = TrainBatchSampler | EvaluationBatchSampler

_BLOCK_BYTES = 16 << 20  # augmentation needs up to sixteen times as much


class ResidentLoader:
    """Batches of images of one split that are all kept in the memory of the device, where `engine` augments them.

    On a GPU several batches are augmented as one block, because launching the small operations for a single batch can
    take longer than a training step. The augmentation of an image does not depend on its block.
    """

    def __init__(
        self, images: SplitImages, sampler: BatchSampler, device: torch.device, engine: Engine | None = None
    ) -> None:
        self.split, self.rows = load_split(images, device)
        self.indices, self.engine = sampler, engine  # not `sampler`: Lightning would take this for a DataLoader
        self.block_bytes = 0 if device.type == "cpu" else _BLOCK_BYTES  # caches of CPUs are small: a single batch

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Batch]:
        epoch = list(self.indices)
        if not epoch:
            return
        sizes = [len(one.rows) for one in epoch]
        columns = [one.rows for one in epoch], [one.repeats for one in epoch]
        rows, repeats = (torch.split(self._upload(column), sizes) for column in columns)
        step = max(1, -(-self.block_bytes // max(1, self.split.images[: sizes[0]].numel())))  # batches in a block
        for begin in range(0, len(epoch), step):
            block = slice(begin, begin + step)
            chosen = torch.cat(rows[block])
            batch = Batch(*(part[chosen] for part in self.split))
            if self.engine is not None:
                images = self.engine(batch.images, epoch[0].epoch, self.rows[chosen], torch.cat(repeats[block]))
                batch = batch._replace(images=images)
            for parts in zip(*(torch.split(part, sizes[block]) for part in batch), strict=True):
                yield Batch(*parts)

    def _upload(self, columns: list[np.ndarray]) -> Tensor:
        """Send the indices of the whole epoch at once, so that no batch waits for a copy."""
        column, device = torch.from_numpy(np.concatenate(columns)), self.rows.device
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
    """Batches that are read from disk when they are needed, by a DataLoader with these `options`.

    The engine of `images` augments in the workers, `engine` on the device.
    """

    def __init__(
        self, images: SplitImages, sampler: BatchSampler, device: torch.device, engine: Engine | None, **options: Any
    ) -> None:
        # `tuple` collates nothing: `images` returns whole batches, and their rows stand for torch's list of indices
        self.batches = DataLoader(images, batch_sampler=sampler, collate_fn=tuple, **options)  # type: ignore[arg-type]
        self.device, self.engine = device, engine

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        for read, *indices, epoch in self.batches:
            batch = Batch(*(part.to(self.device, non_blocking=True) for part in read))
            if self.engine is not None:
                rows, repeats = (part.to(self.device, non_blocking=True) for part in indices)
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
        trained: how many batches of this epoch were trained on, for checkpoints written within a step (on Ctrl-C, say);
            None counts those that were yielded.
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
        state = {**self._yielded, "batches": len(self)}
        return state if self._trained is None else {**state, "batch": min(state["batch"], self._trained())}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue there; a CheckpointError if the epoch was cut into other batches."""
        batches = state.get("batches", len(self))  # not in checkpoints of earlier versions
        if batches != len(self) and 0 < state["batch"] < batches:
            raise CheckpointError(
                f"the checkpoint is of batch {state['batch']} of {batches}, and the epoch has {len(self)} batches now: "
                "leave out data.batch_size and trainer.devices, or continue from a checkpoint of the end of an epoch"
            )
        self._yielded = {"epoch": state["epoch"], "batch": state["batch"]}
        self.batch_sampler.resume_at(state["epoch"], state["batch"])


def load_split(images: SplitImages, device: torch.device) -> tuple[Batch, Tensor]:
    """Return all images of a split in order, and their rows in the cache; copied in blocks, to save host memory."""
    count, shape = len(images), images.images.shape[1:]
    step = max(1, _BLOCK_BYTES // math.prod(shape))
    pixels = torch.empty((count, *shape), dtype=torch.uint8, device=device)
    for begin in range(0, count, step):
        rows = images.rows[begin : begin + step]
        pixels[begin : begin + step] = torch.from_numpy(read_rows(images.images, rows)).to(device)
    columns = (images.labels, images.index, images.rows)
    labels, index, cache_rows = (torch.from_numpy(column.astype(np.int64)).to(device) for column in columns)
    return Batch(pixels, labels, index), cache_rows
