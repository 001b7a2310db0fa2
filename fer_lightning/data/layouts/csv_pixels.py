"""The pixels of a CSV of faces."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.csv_file import CsvFile, name_rows, open_csv

_BLANKS = str.maketrans(dict.fromkeys("[](),;\"'\n\r\t", " "))
_BAD = np.array([-1.0])  # no pixel value


def read_csv_pixels(path: Path) -> np.ndarray:
    """Read the pictures of a CSV, in file order: row 17 of the result is "fer2013.csv#17" of the image table.

    The column `pixels` holds values from 0 to 255, row by row of a square picture, separated by blanks or commas and
    perhaps in brackets; or each pixel has its own column. Whole numbers may be written as 12.0. Where the first row
    has fractions from 0 to 1, all are multiplied by 255.

    Returns:
        (N, S, S) uint8, S being 48 in FER-2013.

    Raises:
        DataError: A row differs in its number of pixels, pictures are not square, a value is not a number in 0..255.
    """
    file = open_csv(path)
    pictures = bytearray()  # grows in place, so the peak stays near the size of the result
    lengths: list[int] = []
    bad_values: list[int] = []
    factor = None
    for values in _rows(file):
        if factor is None:
            factor = 255 if values.dtype == float and values.max(initial=0) <= 1 and (values % 1).any() else 1
        if values.dtype == float:
            values = _whole(values * factor, tolerance=0.0 if factor == 1 else 0.5)
        if values.min(initial=0) < 0 or values.max(initial=0) > 255:
            bad_values.append(len(lengths))
        lengths.append(len(values))
        pictures += values.astype(np.uint8).tobytes()
    if bad_values:
        raise DataError(f"{path}, {name_rows(bad_values)}: a pixel is not a whole number from 0 to 255")
    while lengths and lengths[-1] == 0:  # lines of separators that a spreadsheet left below the last row
        lengths.pop()
    expected = int(np.bincount(lengths).argmax()) if lengths else 0  # what most rows have
    bad_lengths = np.flatnonzero(np.array(lengths) != expected)
    if len(bad_lengths):
        what = f"{lengths[bad_lengths[0]]:,} pixels, not {expected:,} as in the other rows"
        raise DataError(f"{path}, {name_rows(bad_lengths)}: {what}")
    side = math.isqrt(expected)
    if side < 2 or side * side != expected:
        hint = "2,304 blank-separated numbers, 48 x 48, are usual"
        raise DataError(f"{path}: {expected:,} pixels per row make no square picture ({hint})")
    return np.frombuffer(pictures, dtype=np.uint8).reshape(-1, side, side)


def _rows(file: CsvFile) -> Iterator[np.ndarray]:
    """Yield the values of each row, int64 or, where they are not written as integers, float64."""
    if len(file.pixels) != 1:
        for chunk in file.read(list(file.pixels), dtype=None, na_filter=True):
            numbers = np.array(chunk[list(file.pixels)].apply(pd.to_numeric, errors="coerce"), dtype=np.float64)
            for row in numbers:
                yield row[:0] if np.isnan(row).all() else np.nan_to_num(row, nan=-1)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # which older NumPys issue instead of a ValueError
        for chunk in file.read(file.pixels):
            for text in chunk[file.pixels[0]]:
                try:
                    yield np.fromstring(text, dtype=np.int64, sep=" ")
                except (ValueError, DeprecationWarning):
                    yield _parse_floats(text, file.path)


def _parse_floats(text: str, path: Path) -> np.ndarray:
    if "..." in text:
        cure = "write ' '.join(map(str, pixels)) to the CSV instead of str(pixels)"
        raise DataError(f"{path}: NumPy shortened the pixels to '...' when they were saved; {cure}")
    try:
        return np.fromstring(text.translate(_BLANKS), dtype=np.float64, sep=" ")
    except (ValueError, DeprecationWarning):
        return _BAD


def _whole(values: np.ndarray, tolerance: float) -> np.ndarray:
    """Return values rounded to int64; [-1] where one is no number, or further from a whole one than `tolerance`."""
    with np.errstate(invalid="ignore"):
        rounded = np.rint(values)
        fits = np.isfinite(values).all() and (np.abs(values - rounded) <= tolerance).all() and (abs(values) < 1e6).all()
    return rounded.astype(np.int64) if fits else _BAD.astype(np.int64)
