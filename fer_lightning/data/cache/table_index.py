"""What was found under a root, remembered: the next start opens the list of images instead of making it again.

    <cache_dir>/tables/<key>         one table, for one root and one set of the settings that decide how it is read
    <cache_dir>/tables/<key>.turn    how many starts have looked at the images of it

It is taken for true while every folder that was listed has the same time of change, every CSV file the same size and
time, and so have the images that are looked at. What adds, removes, renames or replaces an image changes the time of
its folder. Only writing one in place does not, and that is found out as follows.

- Every start looks at all of up to 12,000 images. More would take longer than all the rest: of `step` times as many
  (FER-2013: 3), a start looks at every `step`-th, and the next start at those that follow them. So after `step` starts,
  one after another, each image has been looked at, and until then one that was written in place may pass unseen.
- Of more than 50,000 images, 50,000 evenly spaced ones have a turn, and writing any other in place is never seen.
- Ranks that Lightning starts look at the images that the first rank looks at, so that all ranks agree. Ranks that
  torchrun or SLURM starts look at all that have a turn, since nobody tells them whose it is; so does every process
  that cannot write the number of starts.
- A start that finds a change leaves the turn where it was: the next one finds it too, unless the table was made anew.
- Images that could not be decoded are looked at by every start (see `cache`).

A folder or file that changed within the last seconds might change once more without its time telling: that is not
remembered yet. Nor is anything where a folder holds a link to nothing, which may come to life.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fer_lightning import __version__
from fer_lightning.core.atomic_write import atomic_write
from fer_lightning.data.cache.file_snapshot import Snapshot, states_of, watched_rows
from fer_lightning.data.cache.start_counter import set_turn, take_turn
from fer_lightning.data.cache.table_file import read_table, write_table
from fer_lightning.data.layouts.file_state import State, state_of
from fer_lightning.data.layouts.recognize import absolute
from fer_lightning.data.table.image_table import ImageTable

_FORMAT = 1  # raise it when the same folders are read into another table than before
_MOST_CHECKED = 12_000  # images, by one start
_FRESH = 2_000_000_000  # ns; the coarsest time of change that a file system keeps, FAT's


class TableIndex:
    """The remembered table of one root. Where it cannot be read or written, nothing is remembered, and nothing fails.

    Args:
        cache_dir: folder of all caches.
        root, layout, aliases, code_order: as for `layouts.read_layout`.
    """

    def __init__(
        self,
        cache_dir: Path,
        root: Path,
        layout: str,
        aliases: Mapping[str, str] | None,
        code_order: str | None,
    ) -> None:
        spellings = sorted((str(name), str(meaning)) for name, meaning in ({} if aliases is None else aliases).items())
        settings = [_FORMAT, __version__, str(absolute(root)), layout, spellings, code_order]
        key = hashlib.blake2b(json.dumps(settings).encode(), digest_size=16).hexdigest()
        self.file = cache_dir.expanduser().absolute() / "tables" / key

    def find(self) -> tuple[ImageTable, str] | None:
        """Return the table and the key of its `Snapshot`, or None where they are not known or hold no longer."""
        try:
            table, files, record = read_table(self.file)
            seen, key = {path: tuple(state) for path, state in record["seen"].items()}, str(record["key"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if any(state_of(path) != state for path, state in seen.items()) or not self._same(table, files):
            return None
        return table, key

    def remember(self, table: ImageTable, snapshot: Snapshot, seen: Mapping[str, State], began: int) -> None:
        """Keep a table for the next start.

        Args:
            table: as it was read.
            snapshot: of its files.
            seen: folders and CSV files that were read for it, each with its state before that.
            began: when the reading did, ns since 1970.
        """
        times = [changed for _, changed in seen.values()]
        latest = max(*times, snapshot.files[:, 1].max(initial=0))
        if min(times) <= 0 or latest > began - _FRESH:  # unknown, or a file system that keeps no times; or too fresh
            return
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            for left_over in self.file.parent.glob("*.new"):  # by a process that was killed; one at work merely fails
                left_over.unlink(missing_ok=True)
            with atomic_write(self.file) as new:
                write_table(new, table, snapshot.files, {"seen": seen, "key": snapshot.key})

    def _same(self, table: ImageTable, files: np.ndarray) -> bool:
        """Return whether the images are as they were, so far as those whose turn it is tell."""
        step = max(1, -(-len(files) // _MOST_CHECKED))
        counter = self.file.with_suffix(".turn")
        turn = take_turn(counter) if step > 1 else None
        chosen = slice(None) if turn is None else slice(turn % step, None, step)
        rows = watched_rows(len(table))[: len(files)][chosen]
        same = np.array_equal(states_of(os.path.abspath(table.root), table.paths[rows]), files[chosen])
        if turn is not None and not same:
            with contextlib.suppress(OSError):
                set_turn(counter, turn)
        return same
