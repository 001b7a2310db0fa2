"""Which checkpoints in a folder are whole, without reading them."""

from __future__ import annotations

import zipfile
from pathlib import Path


def whole_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder that were not cut off: `last.ckpt` first, then the newest.

    A folder that is not there, or cannot be read, has none.
    """
    try:
        files = [path for path in folder.glob("*.ckpt") if path.is_file() and zipfile.is_zipfile(path)]
        return sorted(files, key=lambda path: (path.name == "last.ckpt", path.stat().st_mtime_ns), reverse=True)
    except OSError:
        return []
