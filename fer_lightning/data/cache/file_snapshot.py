"""Whether files are unchanged, by their sizes and times of change; no file is opened."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from fer_lightning.data.layouts.folder_search import state_of
from fer_lightning.data.table.image_table import ImageTable

MOST_FILES = 50_000  # checked at each start, which takes about 0.15 s on a local disk


class Snapshot(NamedTuple):
    """The state of the files behind a table.

    Attributes:
        key: hex; changes when a file is added, removed, renamed or written. Beyond `MOST_FILES` images: when that
            happens to a watched file (see `watched_states`), or when the time of a folder of images changes, as it does
            whenever a file in it is added, removed, renamed or replaced, but not when one is written in place.
        states: int64 (n, 2), see `watched_states`.
    """

    key: str
    states: np.ndarray


def take_snapshot(table: ImageTable) -> Snapshot:
    """Ask the file system for the state of a table's files."""
    root, states = os.path.abspath(table.root), watched_states(table)
    digest = hashlib.blake2b(json.dumps([root]).encode(), digest_size=16)
    for piece in table.paths.joined(b"\0"):
        digest.update(piece)
    digest.update(states.tobytes())
    if table.source != "csv" and len(table) > MOST_FILES:
        folders = sorted({path.rpartition("/")[0] for path in table.paths})
        digest.update(_states_of(root, folders).tobytes())
    return Snapshot(digest.hexdigest(), states)


def watched_states(table: ImageTable) -> np.ndarray:
    """Return int64 (n, 2), size in bytes and time of change in ns of the files that every start checks.

    These are the CSV files of a table, or its images; of more than `MOST_FILES` images, as many evenly spaced ones.
    """
    root = os.path.abspath(table.root)
    if table.source == "csv":
        return _states_of(root, csv_files_of(table))
    count = len(table)
    rows = np.linspace(0, count - 1, MOST_FILES).astype(np.int64) if count > MOST_FILES else slice(None)
    return _states_of(root, table.paths[rows])


def describe_watch(table: ImageTable) -> tuple[str, ...]:
    """Return a note for the user where not every image is checked at each start."""
    if table.source == "csv" or len(table) <= MOST_FILES:
        return ()
    hint = "after writing over a picture in place, touch its folder"
    return (f"of {len(table):,} images, each start checks the folders and {MOST_FILES:,} files: {hint}",)


def file_of(table: ImageTable, path: str) -> str:
    """Return the file that one of the table's paths lies in: the path itself, or the CSV that holds the row."""
    return path.rpartition("#")[0] if table.source == "csv" else path


def csv_files_of(table: ImageTable) -> list[str]:
    """Return the CSV files that a whole table was read from; each split lies in one file."""
    firsts = np.unique(table.splits.codes, return_index=True)[1]
    return list(dict.fromkeys(file_of(table, path) for path in table.paths[firsts]))


def _states_of(root: str, names: Iterable[str]) -> np.ndarray:
    return np.array([state_of(f"{root}/{name}") for name in names], dtype=np.int64).reshape(-1, 2)
