"""The decoded images of a data set: one array of bytes on disk, mapped into memory.

    <cache_dir>/<fingerprint>/    images.npy, digests.npy, identities.npy, cache.json: one data set at one size
    <cache_dir>/keys/<key>        the fingerprint that belongs to this state of the files on disk
    <cache_dir>/building-<key>/   an unfinished build; never opened

The state of the files (location, names, sizes, times of change; see `file_snapshot`) leads to the folder without
opening a file, unless some could not be opened: then the next run tries again. A build ends with a rename, so a folder
is complete or absent; the next build removes what a killed one left.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock, Timeout

from fer_lightning.core.atomic_write import atomic_write, write_text
from fer_lightning.core.errors import DataError
from fer_lightning.core.home import expand_user
from fer_lightning.data.cache.digests import digest_of
from fer_lightning.data.cache.file_snapshot import file_of, take_snapshot
from fer_lightning.data.cache.image_header import MAX_PIXELS
from fer_lightning.data.cache.read_rows import FILE_NAME, map_images
from fer_lightning.data.layouts.folder_search import state_of
from fer_lightning.data.table.image_table import ImageTable

if TYPE_CHECKING:
    from fer_lightning.data.cache.build import DecodedImages

_FORMAT = 2  # raise it when the same file decodes to other pixels than before, or for the first time

Decode = Callable[..., "DecodedImages"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ImageCache:
    """The decoded images of a table.

    Attributes:
        path: the cache's folder.
        images: (N, C, H, W), uint8, a read-only memory map in the order of the table.
        digests: (N,), uint64, of the pixels of `images`, at their size and channels; unique for a failed row.
        identities: (N,), uint64, of the pictures as the files have them, decoded but not resized and in their own
            colours: equal for pixel-identical pictures, whatever the image size; unique for a failed row.
        failures: row -> reason, of images that could not be decoded; their pixels are 0.
        fingerprint: hex, of pixels, relative paths, size and channels; independent of the files' location and age.
        built: whether this call decoded.
    """

    path: Path
    images: np.ndarray
    digests: np.ndarray
    identities: np.ndarray
    failures: dict[int, str]
    fingerprint: str
    built: bool


def open_cache(
    table: ImageTable,
    *,
    image_size: int,
    channels: int,
    cache_dir: Path,
    max_pixels: int = MAX_PIXELS,
    progress: bool = True,
    state: str | None = None,
    decode: Decode | None = None,
) -> ImageCache:
    """Open the decoded images of a table, decoding them first if necessary.

    Several processes may call this at once: one decodes, the others wait.

    Args:
        table: as it was read, before classes are selected.
        image_size: height and width, pixels.
        channels: 1 for grey, 3 for red, green, blue.
        cache_dir: folder of all caches, created if missing; may be deleted at any time.
        max_pixels: of one picture; one whose header promises more is a failure.
        progress: whether to show a bar on stderr.
        state: key of the table's `Snapshot`, if known.
        decode: None for `build.decode_table`.

    Raises:
        DataError: `cache_dir` cannot be written, or there is no room in it.
        ValueError: the table is a selection.
    """
    if not np.array_equal(table.rows, np.arange(len(table))):
        raise ValueError("open the cache of the whole table; a selection of it finds its images by `rows`")
    shape = (len(table), channels, image_size, image_size)
    cache_dir = expand_user(cache_dir).absolute()
    state = take_snapshot(table).key if state is None else state
    name = hashlib.blake2b(json.dumps([_FORMAT, state, *shape, max_pixels]).encode(), digest_size=16).hexdigest()
    key = cache_dir / "keys" / name
    cache = _find(key, table, shape)
    if cache is not None:
        return cache
    if decode is None:
        from fer_lightning.data.cache import build  # imports OpenCV, not needed above

        decode = build.decode_table
    try:
        key.parent.mkdir(parents=True, exist_ok=True)
        with _lock(cache_dir):
            built_meanwhile = _find(key, table, shape)  # by the process that held the lock
            return built_meanwhile or _build(key, table, shape, decode, progress, max_pixels)
    except OSError as error:
        raise DataError(
            f"cannot keep decoded images in {cache_dir} ({error.strerror or error}); "
            "name a folder that can be written: data.cache_dir=PATH"
        ) from error


def _find(key: Path, table: ImageTable, shape: tuple[int, ...]) -> ImageCache | None:
    try:
        cache = _open(key.parent.parent / key.read_text(), shape, built=False)
    except OSError:
        return None
    if cache is None or not cache.failures:
        return cache
    # The user was asked to repair these files, so each is checked, whether or not it is among the watched ones.
    _, decoded = state_of(key)
    states = (state_of(table.root / file_of(table, table.paths[row])) for row in cache.failures)
    return None if any(changed > decoded for _, changed in states) else cache


def _open(path: Path, shape: tuple[int, ...], *, built: bool) -> ImageCache | None:
    """Return the cache in a folder, or None where it is missing or damaged."""
    try:
        facts = json.loads((path / "cache.json").read_text())
        images, digests = map_images(path), np.load(path / "digests.npy")
        identities = np.load(path / "identities.npy")  # which caches of version 0.1 lack: they are built again
    except (OSError, ValueError, EOFError):
        return None
    if images.shape != shape or not len(digests) == len(identities) == len(images):
        return None
    failures = {int(row): reason for row, reason in facts["failures"].items()}
    return ImageCache(path, images, digests, identities, failures, facts["fingerprint"], built)


def _lock(cache_dir: Path) -> contextlib.AbstractContextManager[object]:
    """Take the lock of a cache folder for a `with` block; the system releases it if the process is killed."""
    lock = FileLock(cache_dir / ".lock")
    try:
        return lock.acquire(timeout=1)
    except Timeout:
        log.info("waiting for another process that decodes images into %s", cache_dir)
        return lock.acquire()


def _build(
    key: Path, table: ImageTable, shape: tuple[int, ...], decode: Decode, progress: bool, max_pixels: int
) -> ImageCache:
    """Decode into a temporary folder, then rename it. The caller holds the lock."""
    cache_dir = key.parent.parent
    for left_over in cache_dir.glob("building-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    building = cache_dir / f"building-{key.name}"
    building.mkdir()
    start = time.perf_counter()
    try:
        decoded = decode(table, shape, building / FILE_NAME, progress=progress, max_pixels=max_pixels)
        fingerprint = _fingerprint(table, shape, decoded)
        for column in ("digests", "identities"):
            with atomic_write(building / f"{column}.npy") as new, new.open("wb") as file:
                np.save(file, getattr(decoded, column))
        facts = {"fingerprint": fingerprint, "shape": shape, "failures": decoded.failures, "data": table.explanation}
        write_text(building / "cache.json", json.dumps(facts, indent=1))
        path = cache_dir / fingerprint
        known = _open(path, shape, built=True)
        if known is not None and not np.array_equal(known.identities, decoded.identities):
            # of the same pictures at another size, which become the same pixels here
            path = cache_dir / f"{fingerprint}-{digest_of(decoded.identities.data):016x}"
            known = _open(path, shape, built=True)
        if known is None:  # else these images were decoded before, from a copy of the files
            shutil.rmtree(path, ignore_errors=True)  # damaged
            os.replace(building, path)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    cache = _open(path, shape, built=True)
    if cache is None:
        raise OSError(f"{path} cannot be read back")
    # A file that could not be opened may open next time, its size and time unchanged: do not record this state.
    if not decoded.unopened:
        write_text(key, path.name)
    log.info("decoded %s images in %.1f s into %s", f"{len(table):,}", time.perf_counter() - start, path)
    return cache


def _fingerprint(table: ImageTable, shape: tuple[int, ...], decoded: DecodedImages) -> str:
    digest = hashlib.blake2b(json.dumps([*shape, *decoded.failures.items()]).encode(), digest_size=16)
    for piece in table.paths.joined(b"\0"):
        digest.update(piece)
    digest.update(decoded.digests.astype("<u8", copy=False).data)
    return digest.hexdigest()
