"""Read and decode every image of a table, in parallel, into one .npy file."""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fer_lightning.data.cache.decode import DecodeError, decode_image, fit_image
from fer_lightning.data.layouts.csv import read_csv_pixels
from fer_lightning.data.table.image_table import ImageTable
from fer_lightning.system.resources import available_cores

_CHUNK_BYTES = 1 << 20  # of decoded images that a thread collects before it writes

Read = Callable[[int], np.ndarray]
"""Row of the table -> image (C, H, W), uint8; DecodeError says why not."""


class Loaded(NamedTuple):
    """What became of the N images of a table.

    Attributes:
        digests: (N,), uint64, of the decoded pixels.
        failures: row -> reason, of what could not be decoded.
        unopened: rows of those that the system did not hand over; it may do so the next time, the file unchanged.
    """

    digests: np.ndarray
    failures: dict[int, str]
    unopened: set[int]


class _Unopened(DecodeError):
    """There are no bytes to decode."""


def load_images(
    table: ImageTable, shape: tuple[int, int, int, int], dest: Path, *, progress: bool, workers: int | None
) -> Loaded:
    """Decode a table into a file.

    Args:
        table: of N images.
        shape: (N, C, H, W) of the result.
        dest: the .npy file, uint8.
        progress: show a bar on stderr.
        workers: threads; None for one a core. Most of the work is OpenCV's, which does without Python's lock.

    Raises:
        OSError: `dest` cannot be written.
        DataError: the CSV is malformed.
    """
    count, image_shape = shape[0], shape[1:]
    read = _csv_reader(table, image_shape) if table.source == "csv" else _file_reader(table, image_shape)
    step = max(1, min(256, _CHUNK_BYTES // math.prod(image_shape)))
    digests, failures, unopened = np.zeros(count, dtype=np.uint64), dict[int, str](), set[int]()
    with ImageFile(dest, shape) as file, _bar(progress) as bar:
        task = bar.add_task("decoding images", total=count)

        def load_one(row: int, image: np.ndarray) -> None:
            try:
                image[:] = read(row)
                digests[row] = _digest(image)
            except DecodeError as error:
                failures[row] = str(error)
                if isinstance(error, _Unopened):
                    unopened.add(row)
                digests[row] = _digest(str(table.paths[row]).encode("utf-8", "surrogateescape"))

        def load(first: int) -> None:
            block = np.zeros((min(step, count - first), *image_shape), dtype=np.uint8)
            for row, image in enumerate(block, start=first):
                load_one(row, image)
            file.write(first, block)
            bar.advance(task, len(block))

        _for_each(load, range(0, count, step), available_cores() if workers is None else workers)
    return Loaded(digests, dict(sorted(failures.items())), unopened)


class ImageFile:
    """A .npy file (N, C, H, W), uint8, that threads write in pieces.

    Written and not mapped, so that a full disk is an error that can be told and unwritten pages do not count as memory.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int, int]) -> None:
        self._file, self._lock, self._image_bytes = path.open("wb"), threading.Lock(), math.prod(shape[1:])
        np.lib.format.write_array_header_1_0(self._file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        self._begin = self._file.tell()

    def __enter__(self) -> ImageFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, first: int, images: np.ndarray) -> None:
        """Put images (M, C, H, W) at row `first`."""
        with self._lock:
            self._file.seek(self._begin + first * self._image_bytes)
            self._file.write(images)


def _digest(content: np.ndarray | bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _for_each(work: Callable[[int], None], items: range, workers: int) -> None:
    """Call `work` for every item; the first error, or Ctrl-C, stops the rest."""
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="decode")
    try:
        for _ in pool.map(work, items):
            pass
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _file_reader(table: ImageTable, image_shape: tuple[int, int, int]) -> Read:
    root, paths, (channels, image_size, _) = os.path.abspath(table.root), table.paths, image_shape

    def read(row: int) -> np.ndarray:
        try:
            with open(f"{root}/{paths[row]}", "rb", buffering=0) as file:
                data = file.read()
        except OSError as error:
            raise _Unopened(f"cannot be opened: {error.strerror or error}") from error
        return decode_image(data, image_size, channels)

    return read


def _csv_reader(table: ImageTable, image_shape: tuple[int, int, int]) -> Read:
    """The table names data rows as "fer2013.csv#17"."""
    names = {path.rpartition("#")[0] for path in table.paths}
    pixels = {name: read_csv_pixels(table.root / name) for name in names}
    channels, image_size, _ = image_shape

    def read(row: int) -> np.ndarray:
        name, _, place = table.paths[row].rpartition("#")
        return fit_image(pixels[name][int(place)], image_size, channels)

    return read


def _bar(shown: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not shown)
