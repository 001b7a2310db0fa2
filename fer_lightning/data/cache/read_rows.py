"""Reading from a cache's images.npy: mapped into memory for a few images, read by position for many."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

FILE_NAME = "images.npy"


class MappedImages(np.ndarray):
    """A read-only memory map (N, C, H, W), uint8, pickled as its path: a loader worker maps the file again."""

    folder: Path | None = None  # None for a slice or a copy
    begin = 0  # of the pixels, in bytes
    descriptor = -1  # of the open file, readable even after the cache is deleted

    def __reduce_ex__(self, protocol: Any) -> str | tuple[Any, ...]:
        if self.folder is None:
            return np.asarray(self).__reduce_ex__(protocol)
        return map_images, (self.folder,)


def map_images(folder: Path) -> np.ndarray:
    """Map the images of a cache's folder; raise OSError if there is no such file, ValueError if it is cut short."""
    mapped = np.load(folder / FILE_NAME, mmap_mode="r")
    images: MappedImages = mapped.view(MappedImages)
    images.folder, images.begin = folder, mapped.offset
    if hasattr(os, "preadv"):
        images.descriptor = os.open(folder / FILE_NAME, os.O_RDONLY)
        weakref.finalize(images, os.close, images.descriptor)
    return images


def read_rows(images: np.ndarray, rows: np.ndarray | Sequence[int]) -> np.ndarray:
    """Return a copy of some images, uint8 (n, C, H, W), in the order of `rows`.

    Equal to `images[rows]`, but memory does not grow with the data: every touched page of a map, and the fifteen around
    it, counts as memory of the process, so a shuffled epoch of a 7 GB file would take 7 GB.

    Raises:
        IndexError: a row is out of range.
        OSError: the file has been cut short.
    """
    rows = np.asarray(rows, dtype=np.int64)
    if not isinstance(images, MappedImages) or images.folder is None or images.descriptor < 0:
        return np.array(np.asarray(images)[rows])
    if rows.size and not 0 <= rows.min() <= rows.max() < len(images):
        raise IndexError(f"rows from {rows.min()} to {rows.max()} of {len(images)} images")
    result = np.empty((len(rows), *images.shape[1:]), dtype=np.uint8)
    size, buffer = int(np.prod(images.shape[1:])), result.reshape(-1).data
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1  # adjacent rows are read together
    for first, stop in pairwise([0, *breaks.tolist(), len(rows)] if len(rows) else []):
        piece, position = buffer[first * size : stop * size], images.begin + int(rows[first]) * size
        while piece:  # a read may return fewer bytes than requested
            count = os.preadv(images.descriptor, [piece], position)
            if count == 0:
                what = "their file has been cut short; delete the cache"
                raise OSError(f"the cached images end at byte {position}: {what}")
            piece, position = piece[count:], position + count
    return result


def pixel_statistics(images: np.ndarray, rows: np.ndarray, most: int = 4096) -> tuple[list[float], list[float]]:
    """Return mean and deviation of each channel, 0…1, over at most `most` evenly spaced rows of these."""
    chosen = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
    total, squares, count = 0.0, 0.0, 0
    for some in np.array_split(chosen, -(-len(chosen) // 64)):  # 4096 large images might not fit in memory
        pixels = read_rows(images, some)
        total = total + pixels.sum((0, 2, 3), dtype=np.uint64)
        squares = squares + np.square(pixels, dtype=np.uint16).sum((0, 2, 3), dtype=np.uint64)
        count += pixels.size // pixels.shape[1]
    mean = np.asarray(total / count)
    deviation = np.sqrt(squares / count - mean**2)
    return (mean / 255).tolist(), np.maximum(deviation / 255, 1e-3).tolist()
