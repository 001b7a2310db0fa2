"""What the file system tells of a file without opening it."""

from __future__ import annotations

import os
from pathlib import Path

State = tuple[int, int]
"""Size in bytes, and time of the last change in ns."""

UNKNOWN: State = (-1, -1)


def state_of(path: str | Path) -> State:
    """Return the state of a file or folder, `UNKNOWN` where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return UNKNOWN
    return status.st_size, status.st_mtime_ns
