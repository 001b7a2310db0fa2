"""Writing a file as a whole: readers see the old file or the new one, even if the writer is killed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, ending in `.new`, which replaces `path` at the end of the block.

    Raises:
        OSError: `path` cannot be written.
    """
    new = path.with_suffix(f".{uuid4().hex}.new")
    try:
        yield new
        os.replace(new, path)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
