"""Batches of uint8 images, read from the image cache."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fer_lightning.data.augmentation.engine import Engine
from fer_lightning.data.cache.read_rows import read_rows
from fer_lightning.data.loading.sampler import BatchIndices


class Batch(NamedTuple):
    """A batch as the model gets it.

    Attributes:
        images: uint8 `(B, C, H, W)`; the network scales and normalises them itself.
        labels: int64 `(B,)`, indices into the data's `classes`.
        index: int64 `(B,)`, rows of the image table.
    """

    images: Tensor
    labels: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which is not called


class IndexedBatch(NamedTuple):
    """A batch, not yet augmented on a device, and what its augmentation depends on."""

    batch: Batch
    rows: Tensor  # int64 (B,), in the image cache, hence independent of the selected classes and splits
    repeats: Tensor  # int64 (B,); see BatchIndices
    epoch: int


class SplitImages(Dataset[IndexedBatch]):
    """The images of one split, read a whole batch at a time; one call per image would cost more than the reading.

    `images` are uint8 `(N, C, H, W)`, of the whole cache; `rows` into them, `labels`, and `index` (rows of the image
    table) are int `(n,)`. `engine` augments on the CPU, in a worker.
    """

    def __init__(
        self, images: np.ndarray, rows: np.ndarray, labels: np.ndarray, index: np.ndarray, engine: Engine | None = None
    ) -> None:
        self.images, self.rows, self.labels, self.index, self.engine = images, rows, labels, index, engine

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: BatchIndices) -> IndexedBatch:
        rows, repeats = torch.from_numpy(self.rows[indices.rows]), torch.from_numpy(indices.repeats)
        images = torch.from_numpy(read_rows(self.images, self.rows[indices.rows]))
        if self.engine is not None:
            images = self.engine(images, indices.epoch, rows, repeats)
        labels = torch.from_numpy(self.labels[indices.rows].astype(np.int64))
        batch = Batch(images, labels, torch.from_numpy(self.index[indices.rows]))
        return IndexedBatch(batch, rows, repeats, indices.epoch)
