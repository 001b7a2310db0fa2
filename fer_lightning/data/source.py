"""The source of the images: one table and its pixels, drawn or read from disk."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fer_lightning.core.errors import DataError
from fer_lightning.data.cache.digests import identity_of
from fer_lightning.data.cache.file_snapshot import describe_watch, take_snapshot
from fer_lightning.data.cache.image_cache import open_cache
from fer_lightning.data.cache.image_header import MAX_PIXELS
from fer_lightning.data.cache.read_rows import read_rows
from fer_lightning.data.cache.table_index import TableIndex
from fer_lightning.data.layouts.folder_search import State
from fer_lightning.data.layouts.recognize import Layout, read_layout
from fer_lightning.data.table.emotions import CodeOrder
from fer_lightning.data.table.image_table import SPLITS, ImageTable


@dataclass(frozen=True)
class Source:
    """A table of images and their pixels.

    Attributes:
        table: one row per readable image; `table.rows` points into `images` and `digests`.
        images: uint8 `(N, C, H, W)`, an array or a memory map; `images.read_rows` reads many of either.
        digests: uint64 `(N,)`, of the pixels of `images`, at their size and channels.
        identities: uint64 `(N,)`, of the pictures before they were resized: equal for pixel-identical pictures.
        fingerprint: of the contents; stored in checkpoints.
        skipped: path → reason, of unreadable images that were left out.
        notes: for the user, one line each.
    """

    table: ImageTable
    images: Any
    digests: np.ndarray
    identities: np.ndarray
    fingerprint: str
    skipped: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class ImageRows:
    """Some rows of the images, uint8 `(n, C, H, W)`, each read when it is indexed: a gallery needs few of many."""

    ndim, dtype = 4, np.dtype(np.uint8)

    def __init__(self, images: np.ndarray, rows: np.ndarray) -> None:
        self._images, self._rows = images, rows
        self.shape = (len(rows), *images.shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: int) -> np.ndarray:
        return np.asarray(read_rows(self._images, self._rows[[position]])[0])

    def take(self, positions: np.ndarray) -> ImageRows:
        """Return some of them: a mask or positions."""
        return ImageRows(self._images, self._rows[positions])


def draw_source(counts: Mapping[str, int], *, image_size: int, channels: int, seed: int) -> Source:
    """Draw `counts["train"]`, `counts["validation"]` and `counts["test"]` faces."""
    from fer_lightning.data.synthetic.dataset import synthetic_table  # brings OpenCV

    train, validation, test = (counts[split] for split in SPLITS)
    table, images = synthetic_table(train, validation, test, image_size=image_size, channels=channels, seed=seed)
    digests = np.arange(len(images), dtype=np.uint64)  # no two drawn faces are identical
    pictures = images[:, 0] if channels == 1 else images.transpose(0, 2, 3, 1)
    identities = np.array([identity_of(picture) for picture in pictures], dtype=np.uint64)
    fingerprint = f"drawn-{train}-{validation}-{test}-{image_size}px-{channels}ch-seed{seed}"
    return Source(table, images, digests, identities, fingerprint)


def read_source(
    root: Path,
    layout: Layout,
    aliases: Mapping[str, str | None] | None,
    code_order: CodeOrder | None,
    *,
    own_names: bool = False,
    image_size: int,
    channels: int,
    cache_dir: Path,
    on_error: str,
    max_pixels: int = MAX_PIXELS,
) -> Source:
    """Recognise the layout below `root` and open its cache, decoding the images if they are new or changed.

    Raises:
        DataError: the layout is not recognised, or an image cannot be read and `on_error` is `raise`.
    """
    index = TableIndex(cache_dir, root, layout, aliases, code_order, own_names)
    known = index.find()
    if known is None:
        started, seen = time.time_ns(), dict[str, State]()
        table = read_layout(root, layout, aliases, code_order, seen, own_names)
        snapshot = take_snapshot(table)
        state = snapshot.key
    else:
        table, state = known
    sizes: dict[str, Any] = {"image_size": image_size, "channels": channels, "max_pixels": max_pixels}
    cache = open_cache(table, cache_dir=cache_dir, state=state, **sizes)
    if known is None:
        index.save(table, snapshot, seen, started)
    notes = describe_watch(table)
    skipped = {table.paths[row]: reason for row, reason in sorted(cache.failures.items())}
    if skipped:
        path, reason = next(iter(skipped.items()))
        others = f", and {len(skipped) - 1:,} more" if len(skipped) > 1 else ""
        if on_error == "raise":
            hint = "repair or delete them, or type data.on_error=skip to leave them out"
            raise DataError(f"cannot read {table.root / path} ({reason}){others}; {hint}")
        notes = (*notes, f"left out {len(skipped):,} unreadable images: {path} ({reason}){others}")
        table = table.take(np.setdiff1d(np.arange(len(table)), list(cache.failures)))
    return Source(table, cache.images, cache.digests, cache.identities, cache.fingerprint, skipped, notes)
