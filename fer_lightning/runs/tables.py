"""The tables of a run folder, its history and its predictions: what they must hold, whatever somebody has put there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from fer_lightning.core.csv_cells import unguard_table
from fer_lightning.runs.schema import LARGEST, check_regular

NAMES = ("path", "split", "label", "predicted")  # columns of predictions that hold text


def read_history(path: Path) -> pd.DataFrame:
    """Return `history.csv`: `epoch` and scores as numbers, NaN where they are none; or raise OSError or ValueError."""
    table = _read_csv(path)
    if "epoch" not in table:
        raise ValueError("it has no column epoch")
    numbers = table.apply(pd.to_numeric, errors="coerce").astype(float)
    numbers = numbers.where(numbers.abs() < LARGEST)
    if len(numbers) == 0 or numbers["epoch"].isna().any():
        raise ValueError("an epoch is no number" if len(numbers) else "it has no row")
    return numbers


def read_names(path: Path) -> pd.DataFrame:
    """Return path, split, label and prediction of each image as text; OSError or ValueError: it cannot be read."""
    table = _read_csv(path, usecols=[*NAMES], dtype=object)
    if len(table) == 0:
        raise ValueError("it has no row")
    if table.isna().any(axis=None) or (table[["label", "predicted"]] == "").any(axis=None):
        raise ValueError("a row is cut off")
    return table


def read_predictions(path: Path) -> pd.DataFrame:
    """Return a whole predictions table, n rows, of which `read_predictions` of the metrics checks the numbers."""
    return _read_csv(path, dtype=dict.fromkeys(NAMES, object))


def _read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """Read a table; names of files pass as the file system has them, and `NA` is a name."""
    check_regular(path)
    table = pd.read_csv(path, encoding_errors="surrogateescape", keep_default_na=False, na_values=[], **options)
    return unguard_table(table)
