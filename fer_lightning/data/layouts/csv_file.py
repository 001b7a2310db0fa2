"""How a CSV of faces is written: its encoding and separator, and which columns hold labels and pixels."""

from __future__ import annotations

import codecs
import math
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_lightning.core.errors import DataError
from fer_lightning.core.file_names import shown
from fer_lightning.data.table.emotions import LABEL_COLUMNS, fold
from fer_lightning.data.table.split_names import SPLIT_COLUMNS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_SEPARATORS = (",", ";", "\t", "|")
_PIXEL_COLUMNS = ("pixels", "pixel", "pixelvalues", "pixeldata", "imagepixels", "imagedata", "image", "img", "face")
_NUMBERS = re.compile(r"[\[(\"']*\s*\d+(?:\.\d*)?(?:[\s,;]+\d+(?:\.\d*)?){3,}")  # how a list of numbers begins
_NUMBERED = re.compile(r"(.*?)[\W_]*(\d+)(?:[\W_x]+(\d+))?")  # pixel_0, 17, 3x5
# index_col: otherwise pandas takes surplus leading fields for an index and shifts the columns
_AS_TEXT: dict[str, Any] = {"dtype": str, "na_filter": False, "index_col": False}
_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True, eq=False)
class CsvFile:
    """A CSV whose header has been read.

    Attributes:
        labels: columns that hold labels by their names, the surest first.
        pixels: the column that holds all pixels of a picture as text, or one column for each pixel; () for neither.
        others: the remaining columns.
        options: how pandas reads the file.
    """

    path: Path
    labels: tuple[str, ...]
    pixels: tuple[str, ...]
    others: tuple[str, ...]
    options: dict[str, Any]

    @property
    def has_faces(self) -> bool:
        return bool(self.labels and self.pixels)

    def read(self, columns: Sequence[str], **options: Any) -> Iterator[pd.DataFrame]:
        """Yield columns as text, chunk by chunk and at least once. Empty fields are empty strings."""
        yield from _read(self.path, **(_AS_TEXT | self.options | {"usecols": columns, "chunksize": 1024} | options))

    def require_faces(self) -> None:
        """Raise DataError where labels or pixels are missing."""
        if self.has_faces:
            return
        columns = [*self.labels, *self.pixels, *self.others]
        found = f"columns found: {', '.join(map(shown_column, columns))[:200]}"
        wanted = " and ".join(name for name, there in (("emotion", self.labels), ("pixels", self.pixels)) if not there)
        hint = "expected emotion, pixels and, where there is a split, Usage"
        if any(_NUMBERS.match(name) for name in columns):
            found, hint = "its first line is data", "put a line above it that names them, such as emotion,pixels,Usage"
        elif self.pixels and not self.labels:
            hint = "name the one with the labels emotion"
            if not [name for name in self.others if fold(name) not in SPLIT_COLUMNS]:
                hint = "a test file without labels; type data.root=… with fer2013.csv, icml_face_data.csv or train.csv"
        elif self.labels:
            hint += "; pictures in files of their own must lie in the folder of this list or below it"
        raise DataError(f"{self.path} has no column {wanted} ({found}): {hint}")


def open_csv(path: Path) -> CsvFile:
    """Read the header of a CSV and find out how it is written.

    Commas, semicolons, tabs and bars may separate the columns; the text is UTF-8, UTF-16 or, where it is neither,
    Latin-1. Names of columns may be in any order and contain blanks.

    Raises:
        DataError: the file cannot be read as a CSV, or is empty.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would wait for its other end
            raise DataError(f"{path} is not a file but a pipe, socket or device")
        with path.open("rb") as file:
            head = file.read(2**18)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check its permissions") from error
    encoding = _encoding_of(head)
    lines = (line for line in head.decode(encoding, "replace").splitlines() if line.strip())
    first = next(lines, "").strip("\ufeff")
    excel = re.fullmatch(r"\"?sep=(.)\"?", first)  # a line that Excel writes and reads
    separator = excel[1] if excel else _separator_of(first)
    options = {"encoding": encoding, "encoding_errors": "replace", "sep": separator, "skiprows": 1 if excel else 0}
    frame = next(_read(path, **_AS_TEXT, **options, chunksize=1))
    names = [str(name) for name in frame.columns]
    row = {name: str(frame[name].iloc[0]) if len(frame) else "" for name in names}
    pixels = _pixel_columns(row)
    labels = [name for wanted in LABEL_COLUMNS for name in names if fold(name) == wanted and name not in pixels]
    others = [name for name in names if name not in (set(pixels) | set(labels)) and not name.startswith("Unnamed: ")]
    return CsvFile(path, tuple(labels), tuple(pixels), tuple(others), options)


def shown_column(name: str) -> str:
    """Return the name of a column for a message, on one line."""
    return shown(" ".join(name.split()))


def name_rows(rows: Sequence[int] | np.ndarray) -> str:
    """Return "row 17 and 4 more": rows count from 0 below the header, as in the image table."""
    more = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
    return f"row {rows[0]}{more} (the first below the header is 0)"


def _read(path: Path, **options: Any) -> Iterator[pd.DataFrame]:
    import pandas as pd

    try:
        with pd.read_csv(path, **options) as chunks:
            yield from chunks
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty; point data.root=… at a complete copy") from error
    except (OSError, ValueError, OverflowError) as error:  # ParserError and UnicodeError are ValueErrors
        raise DataError(
            f"cannot read {path} as a CSV: {shown(str(error))}; point data.root=… at a complete copy"
        ) from error


def _encoding_of(head: bytes) -> str:
    for mark, encoding in _BOMS.items():
        if head.startswith(mark):
            return encoding
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):  # without a mark: every other byte of ASCII is zero
        if len(head) > 3 and head[first:200:2].count(0) > 0.9 * len(head[first:200:2]):
            return encoding
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # which may end within a character
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


def _separator_of(header: str) -> str:
    """Return the separator that makes known names of most columns, then the one that makes most columns."""
    known = {*LABEL_COLUMNS, *_PIXEL_COLUMNS, *SPLIT_COLUMNS}

    def columns(separator: str) -> tuple[int, int]:
        names = header.split(separator)
        return sum(fold(name) in known for name in names), len(names)

    return max(_SEPARATORS, key=columns)


def _pixel_columns(row: dict[str, str]) -> list[str]:
    """Return the pixel columns of a header, from its names and the first row."""
    lists = [name for name, value in row.items() if _NUMBERS.match(value.strip())]
    named = [name for wanted in _PIXEL_COLUMNS for name in row if fold(name) == wanted]
    for name in [*(name for name in named if name in lists), *lists]:
        return [name]
    numbered: dict[str, dict[tuple[int, int], str]] = {}  # prefix → numbers of a column → its name
    for name in row:
        match = _NUMBERED.fullmatch(name.strip())
        if match:
            numbers = (int(match[2]), 0) if match[3] is None else (int(match[2]), int(match[3]))
            numbered.setdefault(fold(match[1]), {})[numbers] = name
    for columns in numbered.values():
        if len(columns) >= 16 and math.isqrt(len(columns)) ** 2 == len(columns) and _is_complete(set(columns)):
            return [columns[numbers] for numbers in sorted(columns)]
    return [name for name in named if fold(name) == "pixels"]  # whatever is wrong with the values is said later


def _is_complete(numbers: set[tuple[int, int]]) -> bool:
    """Return whether numbers of columns, or of rows and columns, count from 0 or from 1 without a gap."""
    side = math.isqrt(len(numbers))
    for start in (0, 1):
        line = {(start + at, 0) for at in range(len(numbers))}
        grid = {(start + row, start + column) for row in range(side) for column in range(side)}
        if numbers in (line, grid):
            return True
    return False
