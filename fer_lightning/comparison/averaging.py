"""Average the predictions of several networks: the mean of their probabilities, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fer_lightning.core.errors import DataError
from fer_lightning.evaluation.metrics import class_names, read_predictions


def average_predictions(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Average predictions tables (name of the member → table) into one, in the order of the first table.

    Raises:
        DataError: classes, images or labels differ, or a table is not a predictions table.
    """
    for name, table in tables.items():
        try:
            read_predictions(table)
        except DataError as error:
            raise type(error)(f"{name}: {error}") from error
    first, reference = next(iter(tables.items()))
    classes = list(class_names(reference))
    aligned = [_align(name, table, first, reference) for name, table in tables.items()]
    mean = np.mean([table[classes].to_numpy(dtype=float) for table in aligned], axis=0)
    averaged = reference.copy()
    averaged[classes] = mean
    if "seen" in averaged:
        averaged["seen"] = seen_by_any(aligned)
    if any("seen" not in table for table in aligned):  # by version 0.1, which did not know
        averaged = averaged.drop(columns="seen", errors="ignore")
    averaged["predicted"] = np.asarray(classes, dtype=object)[mean.argmax(axis=1)]
    return averaged


def seen_by_any(tables: Sequence[pd.DataFrame]) -> np.ndarray:
    """Return (N,) str, whether any of several networks was trained on, or else chosen by, the image of a row."""
    columns = [table["seen"].to_numpy(dtype=str) for table in tables if "seen" in table]
    found = np.full(len(tables[0]), "", dtype=object)
    for role in ("validation", "train"):
        found[np.any([column == role for column in columns], axis=0)] = role
    return found


def _align(name: str, table: pd.DataFrame, first: str, reference: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its rows in the order of the reference."""
    own, known = class_names(table), class_names(reference)
    if set(own) != set(known):
        raise DataError(
            f"{name} knows {', '.join(own)}, and {first} {', '.join(known)}: average runs of the same classes"
        )
    rows, wanted = (pd.MultiIndex.from_frame(some[["split", "path"]]) for some in (table, reference))
    if not rows.is_unique or not wanted.is_unique:
        raise DataError(f"{first if rows.is_unique else name}: an image is in its predictions twice")
    order = rows.get_indexer(wanted)
    missing = int((order < 0).sum())
    if missing or len(rows) != len(wanted):
        raise DataError(
            f"{name} and {first} were not scored on the same images: of {len(wanted):,} and {len(rows):,},"
            f" {len(wanted) - missing:,} are the same. Average runs with the same data; with data.seed=42, runs of"
            " several seeds have it"
        )
    table = table.iloc[order].reset_index(drop=True)
    differ = (table["label"].to_numpy() != reference["label"].to_numpy()).nonzero()[0]
    if len(differ):
        path = reference["path"].iloc[differ[0]]
        raise DataError(f"{name} and {first} do not agree what {path} shows: {len(differ):,} labels differ")
    return table
