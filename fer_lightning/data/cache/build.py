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

Reader = Callable[[int], np.ndarray]
"""Row of the table -> image (C, H, W), uint8; raises DecodeError with the reason."""


class DecodedImages(NamedTuple):
    """The result of decoding N images.

    Attributes:
        digests: (N,), uint64, of the decoded pixels.
        failures: row -> reason, of images that could not be decoded.
        unopened: rows of files that could not be opened; the next attempt may succeed though the file is unchanged.
    """

    digests: np.ndarray
    failures: dict[int, str]
    unopened: set[int]


class _UnopenedError(DecodeError):
    """The file could not be read."""


def decode_table(
    table: ImageTable, shape: tuple[int, int, int, int], dest: Path, *, progress: bool, workers: int | None
) -> DecodedImages:
    """Decode the images of a table into a file.

    Args:
        table: of N images.
        shape: (N, C, H, W) of the result.
        dest: the .npy file, uint8.
        progress: show a bar on stderr.
        workers: threads; None for one per core. Most of the work is done in OpenCV, without Python's lock.

    Raises:
        OSError: `dest` cannot be written.
        DataError: the CSV is malformed.
    """
    count, image_shape = shape[0], shape[1:]
    read = _csv_reader(table, image_shape) if table.source == "csv" else _file_reader(table, image_shape)
    step = max(1, min(256, _CHUNK_BYTES // math.prod(image_shape)))
    digests, failures, unopened = np.zeros(count, dtype=np.uint64), dict[int, str](), set[int]()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ImageFile(dest, shape) as file, Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task("decoding images", total=count)

        def decode_row(row: int, image: np.ndarray) -> None:
            try:
                image[:] = read(row)
                digests[row] = _digest(image)
            except DecodeError as error:
                failures[row] = str(error)
                if isinstance(error, _UnopenedError):
                    unopened.add(row)
                digests[row] = _digest(str(table.paths[row]).encode("utf-8", "surrogateescape"))

        def decode_block(first: int) -> None:
            block = np.zeros((min(step, count - first), *image_shape), dtype=np.uint8)
            for row, image in enumerate(block, start=first):
                decode_row(row, image)
            file.write(first, block)
            bar.advance(task, len(block))

        pool = ThreadPoolExecutor(available_cores() if workers is None else workers, thread_name_prefix="decode")
        try:
            for _ in pool.map(decode_block, range(0, count, step)):
                pass  # raises the first error of a thread
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return DecodedImages(digests, dict(sorted(failures.items())), unopened)


class ImageFile:
    """A .npy file (N, C, H, W), uint8, that threads write in pieces.

    Written rather than mapped, so that a full disk raises an error and unwritten pages do not count as memory.
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
        """Write images (M, C, H, W) at row `first`."""
        with self._lock:
            self._file.seek(self._begin + first * self._image_bytes)
            self._file.write(images.data)


def _digest(content: np.ndarray | bytes) -> int:
    data = content if isinstance(content, bytes) else content.data
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _file_reader(table: ImageTable, image_shape: tuple[int, int, int]) -> Reader:
    root, paths, (channels, image_size, _) = os.path.abspath(table.root), table.paths, image_shape

    def read(row: int) -> np.ndarray:
        try:
            with open(f"{root}/{paths[row]}", "rb", buffering=0) as file:
                data = file.read()
        except OSError as error:
            raise _UnopenedError(f"cannot be opened: {error.strerror or error}") from error
        return decode_image(data, image_size, channels)

    return read


def _csv_reader(table: ImageTable, image_shape: tuple[int, int, int]) -> Reader:
    """Return a reader of paths such as "fer2013.csv#17", data row 17."""
    pixels = {name: read_csv_pixels(table.root / name) for name in {path.rpartition("#")[0] for path in table.paths}}
    channels, image_size, _ = image_shape

    def read(row: int) -> np.ndarray:
        name, _, place = table.paths[row].rpartition("#")
        return fit_image(pixels[name][int(place)], image_size, channels)

    return read
