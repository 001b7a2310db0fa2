"""The user's own folder, which a user whom the system does not know has not, as in containers."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def expand_user(path: str | Path) -> Path:
    """Return a path with `~` replaced; one whose user is not known stays as it is, and is then reported as missing."""
    return Path(os.path.expanduser(path))


def cache_home() -> Path:
    """Return the folder of files that can be made again; without a folder of one's own, it is a temporary one."""
    home = os.path.expanduser("~")
    if home != "~":
        return Path(home) / ".cache" / "fer_lightning"
    return Path(tempfile.gettempdir()) / f"fer_lightning-{os.getuid()}"
