"""The list of images that was found under a root, kept for the next start.

    <cache_dir>/tables/<key>    one table, for one root and the settings that decide how it is read

It is valid while every folder that was listed has the same time of change, and every CSV file and every image that a
start checks (see `file_snapshot`) the same size and time. What adds, removes, renames or replaces an image changes the
time of its folder; writing one in place changes its own.

A folder or file that changed within the last seconds may change again within the resolution of its time: such a table
is not kept yet. Nor is one with a folder that holds a broken link, which may be mended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fer_lightning import __version__
from fer_lightning.core.atomic_write import atomic_write, remove_unfinished
from fer_lightning.core.home import expand_user
from fer_lightning.data.cache.file_snapshot import Snapshot, watched_states
from fer_lightning.data.cache.table_file import read_table, write_table
from fer_lightning.data.layouts.folder_search import IMAGE_SUFFIXES, State, state_of
from fer_lightning.data.layouts.recognize import absolute
from fer_lightning.data.table.image_table import ImageTable

_FORMAT = 2  # raise it when the same folders are read into another table than before


class TableIndex:
    """The kept table of one root. A file that cannot be read or written raises nothing: the folders are read again."""

    def __init__(
        self,
        cache_dir: Path,
        root: Path,
        layout: str,
        aliases: Mapping[str, str | None] | None,
        code_order: str | None,
        own_names: bool = False,
    ) -> None:
        spellings = sorted((str(name), str(meaning)) for name, meaning in ({} if aliases is None else aliases).items())
        reading = [spellings, code_order, own_names, IMAGE_SUFFIXES]
        settings = [_FORMAT, __version__, str(absolute(root)), layout, *reading]
        key = hashlib.blake2b(json.dumps(settings).encode(), digest_size=16).hexdigest()
        self.file = expand_user(cache_dir).absolute() / "tables" / key

    def find(self) -> tuple[ImageTable, str] | None:
        """Return the table and the key of its `Snapshot`, or None where there is none or it is outdated."""
        try:
            table, record = read_table(self.file)
            seen, key = {path: tuple(state) for path, state in record["seen"].items()}, str(record["key"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        unchanged = all(state_of(path) == state for path, state in seen.items())
        return (table, key) if unchanged and _digest(watched_states(table)) == record.get("states") else None

    def save(self, table: ImageTable, snapshot: Snapshot, seen: Mapping[str, State], started: int) -> None:
        """Keep a table for the next start.

        `seen` are the folders and CSV files that were read for it, each with its state before that, and `started` is
        when this began, ns since 1970.
        """
        times = [changed for _, changed in seen.values()]
        latest = max(*times, snapshot.states[:, 1].max(initial=0))
        unknown = min(times) <= 0  # or the file system keeps no times; the coarsest are FAT's, of 2 s
        if unknown or latest > started - 2_000_000_000:
            return
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            remove_unfinished(self.file.parent)  # by a process that was killed; one at work merely fails
            with atomic_write(self.file) as new:
                write_table(new, table, {"seen": seen, "key": snapshot.key, "states": _digest(snapshot.states)})


def _digest(states: np.ndarray) -> str:
    return hashlib.blake2b(states.tobytes(), digest_size=16).hexdigest()
