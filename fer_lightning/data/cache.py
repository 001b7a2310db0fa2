"""Decode once: images as one array of bytes on disk, mapped into memory.

    <cache_dir>/<fingerprint>/    images.npy, digests.npy, cache.json: one data set at one size, named by its content
    <cache_dir>/keys/<key>        which fingerprint the files on disk had in this state
    <cache_dir>/building-<key>/   half-made; nobody opens it

The state of the files (place, names, sizes, times of change) finds the folder without reading one of them, unless some
could not be opened: then the next run tries again. A build ends with a rename, so that a folder is whole or not there;
what a killed build leaves behind is swept by the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from fer_lightning.data.loading import Loaded, load_images
from fer_lightning.data.table import ImageTable
from fer_lightning.errors import DataError

_FORMAT = 1  # raise it when the same file decodes to other pixels than before
_PATIENCE = 1.0  # seconds after which a process that waits for another says so

log = logging.getLogger(__name__)


class MappedImages(np.ndarray):
    """A memory map that pickles as its path: a loader worker maps the file again and is sent nothing."""

    folder: Path | None = None

    def __reduce_ex__(self, protocol: int) -> tuple:  # type: ignore[override]
        if self.folder is None:  # a part or a copy
            return np.asarray(self).__reduce_ex__(protocol)
        return read_cached_images, (self.folder,)


@dataclass(frozen=True, eq=False)
class ImageCache:
    """The decoded images of a table.

    Attributes:
        path: the cache's folder.
        images: (N, C, H, W), uint8, a read-only memory map; a row of it a row of the table.
        digests: (N,), uint64, of the decoded pixels: equal for pixel-identical images. A failed row is nobody's twin.
        failures: row -> reason, of what could not be decoded; those images are 0.
        fingerprint: hex, of pixels, relative paths, size and channels; not of where the files lie or how old they are.
        built: whether this call decoded.
    """

    path: Path
    images: np.ndarray
    digests: np.ndarray
    failures: dict[int, str]
    fingerprint: str
    built: bool


def open_cache(
    table: ImageTable,
    *,
    image_size: int,
    channels: int,
    cache_dir: Path,
    progress: bool = True,
    workers: int | None = None,
) -> ImageCache:
    """Open the decoded images of a table, decoding them first where that has not been done.

    Any number of processes may call this at once: one decodes, the others wait for it.

    Args:
        table: as it was read, before classes are selected.
        image_size: height and width, pixels.
        channels: 1 for grey, 3 for red, green, blue.
        cache_dir: folder of all caches, made if need be. It may be deleted at any time.
        progress: show a bar on stderr.
        workers: threads that decode; None for one a core.

    Raises:
        DataError: `cache_dir` cannot be written, or there is no room in it.
        ValueError: the table is a selection.
    """
    if not np.array_equal(table.rows, np.arange(len(table.paths))):
        raise ValueError("open the cache of the whole table; a selection of it finds its images by `rows`")
    shape = (len(table.paths), channels, image_size, image_size)
    cache_dir = cache_dir.expanduser().absolute()
    key = _state_of_files(table, shape)
    cache = _find(cache_dir, key, shape)
    if cache is not None:
        return cache
    try:
        with _alone_in(cache_dir):
            cache = _find(cache_dir, key, shape)  # built by the process that was waited for
            return _build(cache_dir, key, table, shape, progress, workers) if cache is None else cache
    except OSError as error:
        raise DataError(
            f"cannot keep decoded images in {cache_dir} ({error.strerror or error}); "
            "name a folder that can be written: data.cache_dir=PATH"
        ) from error


def read_cached_images(path: Path) -> np.ndarray:
    """Map the images of a cache's folder: (N, C, H, W), uint8, read-only, pickled as the path.

    Raises:
        OSError: there is no such file.
        ValueError: it is cut short.
    """
    images = np.load(path / "images.npy", mmap_mode="r").view(MappedImages)
    images.folder = path
    return images


def _state_of_files(table: ImageTable, shape: tuple[int, ...]) -> str:
    """Return a key that changes when a file is added, removed, renamed or written, by statting and not reading them."""
    root = os.path.abspath(table.root)
    names = table.paths.tolist()
    files = sorted({name.partition("#")[0] for name in names}) if table.source == "csv" else names
    facts = np.full((len(files), 2), -1, dtype=np.int64)
    for row, name in enumerate(files):
        with contextlib.suppress(OSError):
            status = os.stat(f"{root}/{name}")
            facts[row] = status.st_size, status.st_mtime_ns
    digest = hashlib.blake2b(json.dumps([_FORMAT, root, *shape]).encode(), digest_size=16)
    digest.update("\0".join(names).encode("utf-8", "surrogateescape"))
    digest.update(facts.tobytes())
    return digest.hexdigest()


def _find(cache_dir: Path, key: str, shape: tuple[int, ...]) -> ImageCache | None:
    try:
        fingerprint = (cache_dir / "keys" / key).read_text()
    except OSError:
        return None
    return _open(cache_dir / fingerprint, shape, built=False)


def _open(path: Path, shape: tuple[int, ...], *, built: bool) -> ImageCache | None:
    """Return the cache in a folder, or None where somebody has removed or damaged it."""
    try:
        facts = json.loads((path / "cache.json").read_text())
        images, digests = read_cached_images(path), np.load(path / "digests.npy")
    except (OSError, ValueError, EOFError):
        return None
    if images.shape != shape or len(digests) != len(images):
        return None
    failures = {int(row): reason for row, reason in facts["failures"].items()}
    return ImageCache(path, images, digests, failures, facts["fingerprint"], built)


@contextlib.contextmanager
def _alone_in(cache_dir: Path) -> Iterator[None]:
    """Hold the lock of a cache folder; the system gives it back when its holder is killed."""
    (cache_dir / "keys").mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache_dir / ".lock")
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        log.info("waiting for another process that decodes images into %s", cache_dir)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _build(
    cache_dir: Path, key: str, table: ImageTable, shape: tuple[int, ...], progress: bool, workers: int | None
) -> ImageCache:
    """Decode into a folder of its own, then give it its name. Needs the lock."""
    for left_over in cache_dir.glob("building-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    building = cache_dir / f"building-{key}"
    building.mkdir()
    start = time.perf_counter()
    try:
        loaded = load_images(table, shape, building / "images.npy", progress=progress, workers=workers)
        fingerprint = _fingerprint(table, shape, loaded)
        np.save(building / "digests.npy", loaded.digests)
        facts = {"fingerprint": fingerprint, "shape": shape, "failures": loaded.failures, "data": table.explanation}
        (building / "cache.json").write_text(json.dumps(facts, indent=1))
        cache = _publish(building, cache_dir / fingerprint, shape)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    # a file that could not be opened may open the next time and look the same, so this state leads nowhere
    if not loaded.unopened:
        name = cache_dir / "keys" / key
        name.with_suffix(".new").write_text(fingerprint)
        os.replace(name.with_suffix(".new"), name)
    log.info("decoded %s images in %.1f s into %s", f"{len(table):,}", time.perf_counter() - start, cache.path)
    return cache


def _fingerprint(table: ImageTable, shape: tuple[int, ...], loaded: Loaded) -> str:
    digest = hashlib.blake2b(json.dumps([*shape, *loaded.failures.items()]).encode(), digest_size=16)
    digest.update("\0".join(table.paths.tolist()).encode("utf-8", "surrogateescape"))
    digest.update(loaded.digests.astype("<u8").tobytes())
    return digest.hexdigest()


def _publish(building: Path, path: Path, shape: tuple[int, ...]) -> ImageCache:
    """Rename a finished build, unless the same content is there already, decoded from files elsewhere."""
    cache = _open(path, shape, built=True)
    if cache is None:
        shutil.rmtree(path, ignore_errors=True)  # damaged
        os.replace(building, path)
        cache = _open(path, shape, built=True)
    if cache is None:
        raise OSError(f"{path} cannot be read back")
    return cache
