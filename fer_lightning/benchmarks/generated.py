"""Generated data sets: noise that the cache's own code writes as if it had been decoded, and empty folders."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from fer_lightning.benchmarks.windows import memory
from fer_lightning.data.cache.build import DecodedImages, write_images
from fer_lightning.data.cache.file_snapshot import take_snapshot
from fer_lightning.data.cache.image_cache import open_cache
from fer_lightning.data.cache.table_index import TableIndex
from fer_lightning.data.layouts.folder_search import State, state_of
from fer_lightning.data.source import read_source
from fer_lightning.data.table.columns import CategoricalColumn, PathColumn
from fer_lightning.data.table.emotions import EMOTIONS
from fer_lightning.data.table.image_table import SPLITS, ImageTable, describe_counts


def generate(root: str, cache_dir: str, counts: Mapping[str, int], image_size: int, channels: int) -> None:
    """Write a data set of `counts` images a split, at least one a class, that `read_source` opens as decoded folders.

    Raises a DataError where there is no room.
    """
    began, seen = time.time_ns(), _make_folders(Path(root), counts)
    table = _list_images(Path(root), counts)
    snapshot = take_snapshot(table)
    options: dict[str, Any] = {"state": snapshot.key, "decode": _draw_images, "cache_dir": Path(cache_dir)}
    open_cache(table, image_size=image_size, channels=channels, **options)
    index = TableIndex(Path(cache_dir), Path(root), "folders", aliases=None, code_order=None)
    index.save(table, snapshot, seen, began)


def open_once(settings: str) -> dict[str, float]:
    """Open decoded data, from the path to table, images and digests; return `seconds`, and the peak `memory` in MB."""
    data: Any = OmegaConf.load(settings).data
    options = {key: data[key] for key in ("aliases", "code_order", "image_size", "channels", "on_error")}
    start = time.perf_counter()
    read_source(Path(data.root), data.layout, cache_dir=Path(data.cache_dir), **options)
    return {"seconds": time.perf_counter() - start, "memory": memory()["memory"]}


def _make_folders(root: Path, counts: Mapping[str, int]) -> dict[str, State]:
    """Make the folders of splits and classes and return their states, as a listing would."""
    classes = [root / split / name for split in counts for name in EMOTIONS]
    for folder in classes:
        folder.mkdir(parents=True)
    folders = [root, *(root / split for split in counts), *classes]
    for folder in folders:
        os.utime(folder, (time.time() - 3600,) * 2)  # the index does not trust folders that have just changed
    return {str(folder): state_of(folder) for folder in folders}


def _list_images(root: Path, counts: Mapping[str, int]) -> ImageTable:
    """Return the table that the folders would be read into, the classes of equal size."""
    labels = [np.sort(np.arange(count) % len(EMOTIONS)) for count in counts.values()]
    paths = [
        f"{split}/{EMOTIONS[label]}/{number}.jpg"
        for split, own in zip(counts, labels, strict=True)
        for number, label in enumerate(own.tolist())
    ]
    codes = [np.full(count, SPLITS.index(split), dtype=np.uint8) for split, count in counts.items()]
    splits = CategoricalColumn(np.concatenate(codes), (*SPLITS, ""))
    explanation = f"generated: {describe_counts(splits, EMOTIONS)}"
    columns = (PathColumn.of(paths), np.concatenate(labels), splits, EMOTIONS)
    return ImageTable(root, "folders", *columns, explanation, np.arange(len(paths)))


def _draw_images(table: ImageTable, shape: tuple[int, int, int, int], dest: Path, **_: Any) -> DecodedImages:
    """Write noise in the place of decoded images; the digests are random, too, so there are no duplicates."""
    rng, step = np.random.default_rng(0), max(1, 2**24 // math.prod(shape[1:]))  # blocks of 16 MB
    with write_images(dest, shape) as write:
        for first in range(0, len(table), step):
            block = (min(step, len(table) - first), *shape[1:])
            write(first, rng.integers(0, 256, block, dtype=np.uint8))
    digests = rng.integers(0, 2**64, len(table), dtype=np.uint64)
    return DecodedImages(digests, identities=digests, failures={}, unopened=set())
