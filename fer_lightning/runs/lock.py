"""The lock of a run folder, held by the process that runs its job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fer_lightning.runs.files import LOCK


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a job; other processes wait. It is released when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process runs the job of this folder now."""
    if not (folder / LOCK).is_file():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True
