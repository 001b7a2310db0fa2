"""fer2013.csv and similar files: labels, pixels and, in most, the official split."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer_lightning.core.errors import DataError
from fer_lightning.data.table.columns import CategoricalColumn, PathColumn
from fer_lightning.data.table.emotions import CODE_ORDERS, CodeOrder, fold
from fer_lightning.data.table.image_table import SPLITS, ImageTable, describe_counts, order_classes

if TYPE_CHECKING:
    import pandas as pd

# The names used by the competition. Of several in one folder the first is read: they hold the same rows.
KNOWN_FILES: tuple[str, ...] = ("fer2013.csv", "icml_face_data.csv", "train.csv")
USAGES = {"training": "train", "publictest": "validation", "privatetest": "test"} | {split: split for split in SPLITS}


def read_csv_table(path: Path, code_order: CodeOrder | None = None) -> ImageTable:
    """Read labels and splits of a CSV with the columns emotion, pixels and, optionally, Usage.

    Header names may contain blanks and be in any order. `code_order`, a key of `CODE_ORDERS`, is what the label numbers
    mean; None for "fer2013". `read_csv_pixels` reads the pixels.

    Raises:
        DataError: Unreadable file, wrong column names, no rows, a label out of range, an unknown Usage.
    """
    import pandas as pd

    columns = _find_columns(path, ("emotion", "pixels"))
    frame = pd.concat(_read(path, [columns[name] for name in ("emotion", "usage") if name in columns]))
    if frame.empty:
        raise DataError(f"{path} has a header and no rows; point data.root=… at a complete copy")
    names = CODE_ORDERS["fer2013" if code_order is None else code_order]
    name_of = {str(code): name for code, name in names.items()}
    first, last = min(names), max(names)
    expected = f"a number from {first} ({names[first]}) to {last} ({names[last]})"
    found = _look_up(path, frame[columns["emotion"]], name_of, expected)
    classes = order_classes(found)
    labels = CategoricalColumn.of(found, classes).codes
    splits = CategoricalColumn(np.zeros(len(frame), dtype=np.uint8), ("",))
    if "usage" in columns:
        found = _look_up(path, frame[columns["usage"]], USAGES, "Training, PublicTest or PrivateTest")
        splits = CategoricalColumn.of(found, SPLITS)
    order = np.lexsort((labels, splits.codes))
    paths = PathColumn.of(f"{path.name}#{row}" for row in order)
    unsplit = "" if "usage" in columns else " without a Usage column (no split)"
    explanation = f"found {path.name}{unsplit} in {path.parent}: {describe_counts(splits, classes)}"
    rows = np.arange(len(labels))
    return ImageTable(path.parent, "csv", paths, labels[order], splits[order], classes, explanation, rows)


def read_csv_pixels(path: Path) -> np.ndarray:
    """Read the pictures of a CSV, in file order: row 17 of the result is "fer2013.csv#17" of the image table.

    The column `pixels` holds blank-separated values from 0 to 255, row by row of a square picture.

    Returns:
        (N, S, S) uint8, S being 48 in FER-2013.

    Raises:
        DataError: A row differs in its number of pixels, pictures are not square, a value is not a number in 0..255.
    """
    column = _find_columns(path, ("pixels",))["pixels"]
    pictures = bytearray()  # grows in place, so the peak stays near the size of the result
    lengths: list[int] = []
    bad_values: list[int] = []
    for chunk in _read(path, [column]):
        for values in _parse_numbers(chunk[column]):
            if values.min(initial=0) < 0 or values.max(initial=0) > 255:
                bad_values.append(len(lengths))
            lengths.append(len(values))
            pictures += values.astype(np.uint8).tobytes()
    if bad_values:
        raise DataError(f"{path}, {_name_rows(bad_values)}: a pixel is not a whole number from 0 to 255")
    expected = int(np.bincount(lengths).argmax()) if lengths else 0  # what most rows have
    bad_lengths = np.flatnonzero(np.array(lengths) != expected)
    if len(bad_lengths):
        what = f"{lengths[bad_lengths[0]]:,} pixels, not {expected:,} as in the other rows"
        raise DataError(f"{path}, {_name_rows(bad_lengths)}: {what}")
    side = math.isqrt(expected)
    if side < 2 or side * side != expected:
        hint = "2,304 blank-separated numbers, 48 x 48, are usual"
        raise DataError(f"{path}: {expected:,} pixels per row make no square picture ({hint})")
    return np.frombuffer(pictures, dtype=np.uint8).reshape(-1, side, side)


def has_pixel_columns(path: Path) -> bool:
    """Return whether the header of a CSV names both labels and pixels; False for other files."""
    with contextlib.suppress(DataError):
        return bool(_find_columns(path, ("emotion", "pixels")))
    return False


def _find_columns(path: Path, required: Sequence[str]) -> dict[str, str]:
    """Return the header's names by their folded form; raise DataError where a required one is missing."""
    header = {fold(str(name)): str(name) for name in next(_read(path, None, chunk_rows=1)).columns}
    missing = [name for name in required if name not in header]
    if not missing:
        return header
    hint = "expected emotion, pixels and, where there is a split, Usage"
    if not header.keys() - {"pixels", "usage"}:
        hint = "a test file without labels; type data.root=… with fer2013.csv, icml_face_data.csv or train.csv"
    found = ", ".join(name.strip() for name in header.values())
    raise DataError(f"{path} has no column {' and '.join(missing)} (columns found: {found[:200]}): {hint}")


def _read(path: Path, columns: Sequence[str] | None, chunk_rows: int = 1024) -> Iterator[pd.DataFrame]:
    """Yield the columns (None: all) as text, chunk by chunk and at least once. Empty fields are empty strings."""
    import pandas as pd

    # index_col=False: otherwise pandas takes surplus leading fields for an index and shifts the columns
    options = {"usecols": columns, "dtype": str, "na_filter": False, "index_col": False, "chunksize": chunk_rows}
    try:
        with pd.read_csv(path, encoding="utf-8-sig", encoding_errors="replace", **options) as chunks:
            yield from chunks
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty; point data.root=… at a complete copy") from error
    except (OSError, pd.errors.ParserError) as error:
        raise DataError(f"cannot read {path} as a CSV: {error}; point data.root=… at a complete copy") from error


def _look_up(path: Path, values: pd.Series, meanings: Mapping[str, object], expected: str) -> np.ndarray:
    """Return the meaning of each value, (N,); raise DataError naming the first row whose value has none."""
    found = values.str.strip().str.casefold().map(meanings)
    unknown = np.flatnonzero(found.isna())
    if len(unknown):
        what = f"{values.name.strip()} is {values.iloc[unknown[0]]!r}, not {expected}"
        raise DataError(f"{path}, {_name_rows(unknown)}: {what}")
    return np.asarray(found)


def _parse_numbers(texts: Iterable[str]) -> list[np.ndarray]:
    """Return the numbers of each text, int64; [-1], which is no pixel value, for a text that holds anything else."""

    def parse(text: str) -> np.ndarray:
        try:
            return np.fromstring(text, dtype=np.int64, sep=" ")
        except (ValueError, DeprecationWarning):
            return np.array([-1])

    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # which older NumPys issue instead of a ValueError
        return [parse(text) for text in texts]


def _name_rows(rows: Sequence[int] | np.ndarray) -> str:
    """Return "row 17 and 4 more": rows count from 0 below the header, as in the image table."""
    more = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
    return f"row {rows[0]}{more} (the first below the header is 0)"
