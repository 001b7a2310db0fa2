"""Rows of the image cache as batches of bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fer_lightning.data.sampler import Draw
from fer_lightning.data.table import ImageTable

Engine = Callable[[np.ndarray, int, int, int], np.ndarray]


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


class CachedImages(Dataset[Batch]):
    """The images of one split, read a whole batch at a time: fancy indexing of a memory map beats one call an image.

    Args:
        images: uint8 `(N, C, H, W)`, indexed by `table.rows`.
        table: of all splits.
        rows: int64 `(n,)`, the rows of `table` that belong to this split.
        engine: augments one `(H, W, C)` image, given epoch, row and repeat (see `Draw`); None leaves it as it is.
    """

    def __init__(self, images: np.ndarray, table: ImageTable, rows: np.ndarray, engine: Engine | None = None) -> None:
        self.images = images
        self.rows, self.positions, self.labels = rows, table.rows[rows], table.labels[rows]
        self.engine = engine

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, draws: Sequence[Draw] | Sequence[int]) -> Batch:
        drawn = [draw if isinstance(draw, Draw) else Draw(draw, epoch=0) for draw in draws]
        items = np.array([draw.row for draw in drawn], dtype=np.int64)
        rows, positions = self.rows[items], self.positions[items]
        images = np.asarray(self.images[positions])
        if self.engine is not None:
            images = self._augment(images, drawn, positions)
        return Batch(torch.from_numpy(images), torch.from_numpy(self.labels[items]), torch.from_numpy(rows))

    def __getitem__(self, draw: Draw | int) -> Batch:
        batch = self.__getitems__([draw])  # type: ignore[list-item]
        return Batch(*(part[0] for part in batch))

    def _augment(self, images: np.ndarray, draws: Sequence[Draw], positions: np.ndarray) -> np.ndarray:
        channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        augmented = [
            self.engine(image, draw.epoch, position, draw.repeat)  # type: ignore[misc]
            for image, draw, position in zip(channels_last, draws, positions.tolist(), strict=True)
        ]
        return np.ascontiguousarray(np.stack(augmented).transpose(0, 3, 1, 2))
