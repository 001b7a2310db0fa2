"""Writing a file as a whole: readers see the old file or the new one, even if the writer is killed or the disk full.

The new file is written beside the old one, under a hidden name, because only within one file system is a rename atomic;
it is on the disk before it gets its name, and so is the name before the next file is written.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from fer_lightning.core.errors import StorageError
from fer_lightning.core.file_names import ON_DISK

UNFINISHED = ".*.new"  # pattern of the names of files that are being written


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` to be written, which replaces `path` at the end of the block.

    Raises:
        StorageError, which is an OSError: `path` cannot be written; what was there is unchanged.
    """
    new = path.with_name(f".{path.name[:60]}.{uuid4().hex[:8]}.new")
    try:
        yield new
        _flush(new)
        os.replace(new, path)
        with contextlib.suppress(OSError):  # some file systems of networks refuse it for folders
            _flush(path.parent)
    except Exception as error:
        blocked = _storage_failure(error)
        if blocked is None:
            raise
        raise StorageError.writing(path, blocked) from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield the name of a folder beside `path`, to be made; at the end of the block its files get their place there.

    Other files in `path` stay as they are.

    Raises:
        StorageError, which is an OSError: `path` cannot be written.
    """
    new = path.with_name(f".{path.name[:60]}.{uuid4().hex[:8]}.new")
    try:
        yield new
        for file in new.iterdir():
            _flush(file)
        path.mkdir(exist_ok=True)
        for file in new.iterdir():
            os.replace(file, path / file.name)
    except OSError as error:
        raise StorageError.writing(path, error) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replace a file by a text in UTF-8, made whole; names of files in it pass as the file system has them.

    Raises:
        StorageError: it cannot be written.
    """
    with atomic_write(path) as new:
        new.write_text(text, encoding="utf-8", errors=ON_DISK, newline="")


def make_folder(folder: Path) -> Path:
    """Make a folder and those above it where they are missing, or raise StorageError; return it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError.writing(folder, error) from error
    return folder


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was killed left half-written in a folder; nobody may be writing there."""
    with contextlib.suppress(OSError):
        for left_over in folder.glob(UNFINISHED):
            left_over.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open folders
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _storage_failure(error: BaseException | None) -> OSError | None:
    """Return the OSError among an error and what led to it: torch raises another where a write fails."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
