"""Rows of the image cache as batches of bytes."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fer_lightning.data.cache.read_rows import read_rows
from fer_lightning.data.loading.sampler import Draws


class Engine(Protocol):
    """What changes training images at random, as a function of its arguments alone; see `augmentation`."""

    def __call__(self, images: Tensor, epoch: int, rows: Tensor, repeats: Tensor) -> Tensor:
        """Return uint8 `(B, C, H, W)` for images uint8 `(B, C, H, W)` in these draws, rows and repeats int64 `(B,)`."""
        ...


class Batch(NamedTuple):
    """What crosses from the data to the model.

    Attributes:
        images: uint8 `(B, C, H, W)`; the network scales and normalises them itself.
        labels: int64 `(B,)`, positions in the data's `classes`.
        index: int64 `(B,)`, rows of the image table.
    """

    images: Tensor
    labels: Tensor
    index: Tensor


class IndexedBatch(NamedTuple):
    """A batch, and which draws of augmentation belong to it.

    Attributes:
        batch: not augmented on a device yet.
        rows: int64 `(B,)`, in the image cache: what an image is known by whichever classes and splits are chosen.
        repeats: int64 `(B,)`; see `Draws`.
        epoch: 0 or more.
    """

    batch: Batch
    rows: Tensor
    repeats: Tensor
    epoch: int


class SplitImages(Dataset[IndexedBatch]):
    """The images of one split, read a whole batch at a time: one call an image would cost more than the reading.

    Args:
        images: uint8 `(N, C, H, W)`, all that the cache holds.
        rows: int64 `(n,)`, of `images`.
        labels: int `(n,)`.
        index: int64 `(n,)`, rows of the image table.
        engine: augments on the CPU what is read, in a worker; None leaves it as it is.
    """

    def __init__(
        self,
        images: np.ndarray,
        rows: np.ndarray,
        labels: np.ndarray,
        index: np.ndarray,
        engine: Engine | None = None,
    ) -> None:
        self.images, self.rows, self.labels, self.index, self.engine = images, rows, labels, index, engine

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, draws: Draws) -> IndexedBatch:
        rows, repeats = torch.from_numpy(self.rows[draws.rows]), torch.from_numpy(draws.repeats)
        images = torch.from_numpy(read_rows(self.images, self.rows[draws.rows]))
        if self.engine is not None:
            images = self.engine(images, draws.epoch, rows, repeats)
        labels = torch.from_numpy(self.labels[draws.rows].astype(np.int64))
        batch = Batch(images, labels, torch.from_numpy(self.index[draws.rows]))
        return IndexedBatch(batch, rows, repeats, draws.epoch)
