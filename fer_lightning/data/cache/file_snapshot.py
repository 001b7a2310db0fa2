"""Whether files are as they were: their sizes and times of change, and never what is in them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fer_lightning.data.layouts.file_state import state_of
from fer_lightning.data.table.image_table import ImageTable

MOST_FILES = 50_000  # asking for the state of so many takes about 0.1 s, on a network much longer


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of the files behind a table.

    Attributes:
        key: hex; another one when a file is added, removed, renamed or written. Beyond `MOST_FILES` images: when that
            happens to one of as many evenly spaced files, or the time of a folder of images changes, as it does
            whenever a file in it is added, removed, renamed or replaced, though not when one is written in place.
        files: (n, 2) int64, size in bytes and time of change in ns of the files of `watched_rows`; none for a CSV.
    """

    key: str
    files: np.ndarray


def take_snapshot(table: ImageTable) -> Snapshot:
    """Ask the file system, not the files, for their state."""
    root = os.path.abspath(table.root)
    digest = hashlib.blake2b(json.dumps([root]).encode(), digest_size=16)
    for piece in table.paths.joined(b"\0"):
        digest.update(piece)
    if table.source == "csv":
        names = sorted({file_of(table, path) for path in table.paths})
        digest.update(states_of(root, names).tobytes())
        return Snapshot(digest.hexdigest(), np.empty((0, 2), dtype=np.int64))
    files = states_of(root, table.paths[watched_rows(len(table))])
    digest.update(files.tobytes())
    if len(table) > MOST_FILES:
        folders = sorted({path.rpartition("/")[0] for path in table.paths})
        digest.update(states_of(root, folders).tobytes())
    return Snapshot(digest.hexdigest(), files)


def file_of(table: ImageTable, path: str) -> str:
    """Return the file that one of the table's paths lies in: the path itself, or the CSV that holds the row."""
    return path.rpartition("#")[0] if table.source == "csv" else path


def watched_rows(count: int) -> np.ndarray:
    """Return int64 `(n,)`: every row of `count`, or `MOST_FILES` evenly spaced ones of more."""
    if count <= MOST_FILES:
        return np.arange(count)
    return np.linspace(0, count - 1, MOST_FILES).astype(np.int64)


def states_of(root: str, names: Iterable[str]) -> np.ndarray:
    """Return (n, 2) int64, `state_of` each of these files below a folder."""
    facts: list[int] = []
    for name in names:
        facts += state_of(f"{root}/{name}")
    return np.array(facts, dtype=np.int64).reshape(-1, 2)
