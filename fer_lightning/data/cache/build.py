"""Read and decode every image of a table, in parallel, into one .npy file."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fer_lightning.data.cache.decode import DecodeError, decode_picture, fit_image
from fer_lightning.data.cache.digests import digest_of, identity_of
from fer_lightning.data.cache.file_snapshot import csv_files_of
from fer_lightning.data.cache.image_file import UnopenedError, read_image_file
from fer_lightning.data.layouts.csv_pixels import read_csv_pixels
from fer_lightning.data.table.image_table import ImageTable
from fer_lightning.system.resources import available_cores


class DecodedImages(NamedTuple):
    """The result of decoding N images.

    Attributes:
        digests: (N,), uint64, of the pixels of the resized images.
        identities: (N,), uint64, of the pictures as the files have them; see `ImageCache`.
        failures: row -> reason, of images that could not be decoded.
        unopened: rows of files that could not be opened; the next attempt may succeed though the file is unchanged.
    """

    digests: np.ndarray
    identities: np.ndarray
    failures: dict[int, str]
    unopened: set[int]


def decode_table(
    table: ImageTable, shape: tuple[int, int, int, int], dest: Path, *, progress: bool, max_pixels: int
) -> DecodedImages:
    """Decode the images of a table into a .npy file of this shape, with a bar on stderr if `progress`.

    A thread per core decodes; most of the work is done in OpenCV, without Python's lock. A file that is larger than an
    image of `max_pixels` pixels can be is not read, and one that has more of them not decoded.

    Raises:
        OSError: `dest` cannot be written.
        DataError: the CSV is malformed.
    """
    count, image_shape = shape[0], shape[1:]
    read = _reader(table, max_pixels)
    step = max(1, min(256, 2**20 // math.prod(image_shape)))  # images that a thread collects before it writes: 1 MB
    digests, identities = np.zeros((2, count), dtype=np.uint64)
    failures, unopened = dict[int, str](), set[int]()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), disable=not progress)
    with write_images(dest, shape) as write, bar:
        task = bar.add_task("decoding images", total=count)

        def decode_block(first: int) -> None:
            block = np.zeros((min(step, count - first), *image_shape), dtype=np.uint8)
            for row, image in enumerate(block, start=first):
                try:
                    picture = read(row)
                    image[:] = fit_image(picture, shape[-1], shape[1])
                    digests[row], identities[row] = digest_of(image.data), identity_of(picture)
                except DecodeError as error:
                    failures[row] = str(error)
                    if isinstance(error, UnopenedError):
                        unopened.add(row)
                    digests[row] = identities[row] = digest_of(table.paths[row].encode("utf-8", "surrogateescape"))
            write(first, block)
            bar.advance(task, len(block))

        pool = ThreadPoolExecutor(available_cores(), thread_name_prefix="decode")
        try:
            for _ in pool.map(decode_block, range(0, count, step)):
                pass  # raises the first error of a thread
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C, too
    return DecodedImages(digests, identities, dict(sorted(failures.items())), unopened)


@contextlib.contextmanager
def write_images(path: Path, shape: tuple[int, int, int, int]) -> Iterator[Callable[[int, np.ndarray], None]]:
    """Yield a function that writes images, uint8 (M, C, H, W), at a row of a .npy file (N, C, H, W); for many threads.

    Written rather than mapped, so that a full disk raises an error and unwritten pages do not count as memory.
    """
    lock = threading.Lock()
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        begin = file.tell()

        def write(row: int, images: np.ndarray) -> None:
            with lock:
                file.seek(begin + row * math.prod(shape[1:]))
                file.write(images.data)

        yield write
        file.flush()
        os.fsync(file.fileno())  # before the folder gets its name


def _reader(table: ImageTable, max_pixels: int) -> Callable[[int], np.ndarray]:
    """Return a function from row to picture, see `decode_picture`, which raises DecodeError with the reason."""
    root, paths = os.path.abspath(table.root), table.paths
    if table.source == "csv":
        pixels = {file: read_csv_pixels(table.root / file) for file in csv_files_of(table)}

        def read_row(row: int) -> np.ndarray:
            file, _, number = paths[row].rpartition("#")
            if int(number) >= len(pixels[file]):
                raise DecodeError("its row has no pixels")
            picture: np.ndarray = pixels[file][int(number)]
            return picture

        return read_row

    def read(row: int) -> np.ndarray:
        return decode_picture(read_image_file(f"{root}/{paths[row]}", max_pixels), max_pixels)

    return read
