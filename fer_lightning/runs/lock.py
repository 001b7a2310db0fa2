"""The lock of a run folder: which process runs the job of it now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fer_lightning.runs.files import LOCK


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a job; whoever else would run it waits. It goes with the process that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        yield


def at_work(folder: Path) -> bool:
    """Whether some process runs the job of this folder now."""
    if not (folder / LOCK).is_file():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True
