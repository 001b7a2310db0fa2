"""Files that are whole or not there, whoever reads, writes or dies meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a file beside `path`, ending in `.new`, to write to; it takes the place of `path` at the end.

    Raises:
        OSError: it cannot.
    """
    new = path.with_suffix(f".{uuid4().hex}.new")
    try:
        yield new
        os.replace(new, path)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
