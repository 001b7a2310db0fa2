"""How a run ended: `status.json` in its folder, written from its start on, so that a killed run leaves one too."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fer_lightning import __version__
from fer_lightning.core.atomic_write import make_folder, write_text
from fer_lightning.core.errors import DataError, DivergedError, StorageError, UserError, first_lines
from fer_lightning.core.former_names import renamed
from fer_lightning.core.memory_errors import is_out_of_memory
from fer_lightning.runs.files import STATUS
from fer_lightning.runs.schema import check_status, read_object

RUNNING, FINISHED, PRUNED, FAILED, INTERRUPTED = "running", "finished", "pruned", "failed", "interrupted"
_NO_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)


class Pruned(Exception):
    """Training was stopped early, because other trials of its sweep are better at the same epoch."""


@dataclass(frozen=True)
class Status:
    """The state of a run; times are those of its last attempt, in ISO 8601."""

    status: str = RUNNING  # or another of the five above; a run that was killed stays `running`
    reason: str | None = None  # out of memory, diverged, data, configuration, killed, storage or error
    message: str | None = None
    identity: str | None = None  # hash of its settings, see `runs.config_hash`
    fingerprint: str | None = None  # of the images it was trained on, once they are known
    overrides: list[str] = field(default_factory=list)  # what was typed for it
    values: dict[str, float] = field(default_factory=dict)  # the objectives of a sweep
    attempts: int = 1
    started: str | None = None
    expected: str | None = None  # when a long run that is not over is expected to end
    ended: str | None = None
    seconds: float | None = None
    version: str | None = None  # of fer_lightning; None before 0.2

    @property
    def over(self) -> bool:
        """Whether there is nothing left to train."""
        return self.status in (FINISHED, PRUNED)


def read_status(folder: Path) -> Status | None:
    """Return the status in a run folder; None where there is none that can be read."""
    try:
        content = renamed(read_object(folder / STATUS))
        check_status(content)
        known = {item.name: content[item.name] for item in fields(Status) if content.get(item.name) is not None}
        status = Status(**{"status": content["status"], **known})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return status if status.status in (RUNNING, FINISHED, PRUNED, FAILED, INTERRUPTED) else None


def write_status(folder: Path, status: Status) -> None:
    """Write a status, or raise OSError; a reader finds the old one or the new one, never half of it."""
    write_text(make_folder(folder) / STATUS, json.dumps(asdict(status), indent=2) + "\n")


def write_failure(folder: Path, identity: str, overrides: Sequence[str], reason: str, message: str) -> None:
    """Write the status of a run that could not start, or raise OSError."""
    status = Status(FAILED, reason, message, identity=identity, overrides=[*overrides], version=__version__)
    write_status(folder, replace(status, started=now(), ended=now()))


def update_status(folder: Path, **facts: Any) -> None:
    """Add facts to the status of a run, if it has one: a run from a notebook has none."""
    status = read_status(folder)
    if status is not None:
        write_status(folder, replace(status, **facts))


@contextmanager
def recorded(folder: Path, identity: str, overrides: Sequence[str]) -> Iterator[None]:
    """Record in a run folder that a run is running, and at the end how it ended, or raise OSError."""
    before, clock = read_status(folder), time.monotonic()
    attempts = 1 if before is None else before.attempts + 1
    status = Status(identity=identity, overrides=[*overrides], version=__version__, attempts=attempts, started=now())
    write_status(folder, status)

    def end(status: str, **facts: Any) -> None:
        update_status(
            folder, status=status, expected=None, ended=now(), seconds=round(time.monotonic() - clock, 2), **facts
        )

    def fail(error: Exception) -> None:
        with suppress(OSError):  # a full disk, say, of which the error itself tells more
            end(FAILED, reason=reason_of(error), message=message_of(error))

    try:
        yield
    except Pruned as pruned:
        end(PRUNED, message=str(pruned))
        raise
    except Exception as error:
        fail(error)
        raise
    except BaseException:  # Ctrl-C, which Lightning turns into SystemExit
        end(INTERRUPTED)
        raise
    end(FINISHED)


def reason_of(error: BaseException) -> str:
    """Return the kind of a failure: that of the first among the error and its causes that has one."""
    chain = [*_chain(error)]
    for one in chain:
        if isinstance(one, DivergedError):
            return "diverged"
        if isinstance(one, StorageError) or (isinstance(one, OSError) and one.errno in _NO_STORAGE):
            return "storage"
        if is_out_of_memory(one):
            return "out of memory"
    for one in chain:
        if isinstance(one, DataError):
            return "data"
        if isinstance(one, UserError):
            return "configuration" if one.exit_code == 2 else "error"
    return "error"


def message_of(error: BaseException) -> str:
    """Return the message of a failure: all of a `UserError`, the beginning of others."""
    said = (str(one) for one in _chain(error) if isinstance(one, UserError))
    return next(said, f"{type(error).__name__}: {first_lines(error)}")


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
