"""`predictions.csv`: one row a face, written as pictures come."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fer_lightning.core.atomic_write import atomic_write
from fer_lightning.core.csv_cells import guard
from fer_lightning.core.file_names import ON_DISK
from fer_lightning.inference.face import Faces

BEFORE = ("file", "frame", "time", "face", "x", "y", "w", "h", "label", "confidence")
AFTER = ("status", "note")


class TableWriter:
    """Writes the rows of pictures; see `open_table`."""

    def __init__(self, writer: Any, classes: Sequence[str]) -> None:
        self._writer, self.classes = writer, classes
        writer.writerow([guard(name) for name in (*BEFORE, *class_columns(classes), *AFTER)])

    def add(self, faces: Faces) -> None:
        """Write a row for each face of a picture, or one that says why there is none."""
        time = None if faces.time is None else f"{faces.time:.3f}"
        for number, face in enumerate(faces, 1):
            found = face.label is not None
            box = face.box or (None, None, None, None)
            where = (faces.source, faces.frame, time, (face.track or number) if found else None, *box)
            what = (face.label, f"{face.confidence:.6f}" if found else None)
            shares = (f"{face.probabilities[name]:.6f}" if found else None for name in self.classes)
            self._writer.writerow([guard(cell) for cell in (*where, *what, *shares, face.status, faces.note)])


@contextmanager
def open_table(path: Path, classes: Sequence[str]) -> Iterator[TableWriter]:
    """Yield the writer of a table that is at `path` when the block ends."""
    with atomic_write(path) as new, new.open("w", encoding="utf-8", errors=ON_DISK, newline="") as file:
        yield TableWriter(csv.writer(file, lineterminator="\n"), classes)


def class_columns(classes: Sequence[str]) -> list[str]:
    """Return the name of each class's column: its own, unless another column is called so.

    >>> class_columns(["happy", "x"])
    ['happy', 'x_probability']
    """
    return [f"{name}_probability" if name in (*BEFORE, *AFTER) else name for name in classes]
