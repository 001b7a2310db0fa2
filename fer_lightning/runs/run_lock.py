"""The lock of a run folder: held while its process lives, whatever ends it, so that readers can tell who is gone.

The system releases it when the process ends. The file is removed at an orderly end; one that is left over tells of a
process that was killed, and names its machine, because not every file system of a network shares locks.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from contextlib import suppress
from enum import Enum
from pathlib import Path

from fer_lightning.core.errors import ConfigError, StorageError
from fer_lightning.runs.files import RUN_LOCK

if sys.platform != "win32":  # whether a run is alive stays unknown there
    import fcntl

PATIENCE = 1.0  # seconds that a start waits, since who reads a status holds the lock for an instant


class Process(Enum):
    """What is known of the process of a run."""

    ALIVE, GONE, UNKNOWN = "alive", "gone", "unknown"


class RunLock:
    """The lock of a folder for one run; a second run in the same folder is refused.

    Raises:
        ConfigError: another process holds it.
        StorageError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / RUN_LOCK
        self._descriptor = self._acquire()
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"{platform.node()} {os.getpid()}\n".encode(errors="replace"))
            # a worker that outlives its killed parent for a while must not hold the lock
            os.register_at_fork(after_in_child=self._forget)

    def release(self) -> None:
        """Remove the file and give the lock back."""
        if self._descriptor is not None:
            with suppress(OSError):
                self.file.unlink()  # first: whoever opened it meanwhile sees that it is gone, and makes a new one
            os.close(self._descriptor)
            self._descriptor = None

    def _acquire(self) -> int | None:
        """Return the descriptor that holds the lock; None where the file system knows no locks."""
        ends = time.monotonic() + PATIENCE
        while sys.platform != "win32":
            try:
                descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise StorageError.writing(self.file, error) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                if time.monotonic() > ends:
                    raise ConfigError(
                        f"{self.file.parent} is in use by {_holder(self.file)}: wait until it has ended, or type"
                        " another hydra.run.dir=FOLDER"
                    ) from None
                time.sleep(0.05)
                continue
            except OSError:
                os.close(descriptor)
                self.file.unlink(missing_ok=True)
                break
            with suppress(OSError):
                if os.path.samestat(os.fstat(descriptor), self.file.stat()):
                    return descriptor
            os.close(descriptor)  # of a file that its holder removed meanwhile
        return None

    def _forget(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def process_of(folder: Path) -> Process:
    """Return whether the process of the run in a folder is alive; unknown where it left no lock or is elsewhere."""
    file = folder / RUN_LOCK
    if sys.platform == "win32":
        return Process.UNKNOWN
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return Process.UNKNOWN
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Process.ALIVE
    except OSError:
        return Process.UNKNOWN
    finally:
        os.close(descriptor)
    return Process.GONE if host_of(folder) == platform.node() else Process.UNKNOWN


def host_of(folder: Path) -> str | None:
    """Return the name of the machine that the run in a folder was started on, where its lock is there."""
    with suppress(OSError):
        return (folder / RUN_LOCK).read_text(encoding="utf-8", errors="replace")[:300].rpartition(" ")[0] or None
    return None


def _holder(file: Path) -> str:
    with suppress(OSError):
        host, _, process = file.read_text(encoding="utf-8", errors="replace")[:300].strip().rpartition(" ")
        if process:
            return f"another run (process {process}{'' if host == platform.node() else f' on {host}'})"
    return "another run"
