"""The column of a table that says the split of each row, in a CSV of pixels and in a list of labels alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.csv_file import name_rows, shown_column
from fer_lightning.data.layouts.folder_search import FolderSearch
from fer_lightning.data.layouts.naming_advice import split_setting
from fer_lightning.data.table.emotions import code_of, fold
from fer_lightning.data.table.split_names import split_columns

LEFT_OUT = "left out"  # instead of a split: data.aliases={word: null} says so
_FLAGS = {"isvalid": "validation", "isval": "validation", "isvalidation": "validation", "istest": "test"}
_TRUE, _FALSE = frozenset(("true", "1", "1.0", "yes")), frozenset(("false", "0", "0.0", "no"))
_SPLIT_WORDS = frozenset(("split", "splits", "usage", "subset", "partition", "phase", "set", "fold", "folds"))


def columns_named_for_splits(header: Iterable[str]) -> list[str]:
    """Return the columns whose names say that they hold splits, the surest first."""
    header = list(header)
    sure = split_columns(header)
    return sure + [name for name in header if name not in sure and _is_named_for_splits(name)]


def read_split_column(path: Path, columns: Mapping[str, Sequence[str]], search: FolderSearch) -> list[str] | None:
    """Return the split of each row, or `LEFT_OUT`; None where no column says it.

    A column whose every value is a split says it, whatever its name.

    Args:
        path: The file, for messages.
        columns: Name to the values of the rows, for all columns but those of labels and images.
        search: Knows what the user's own names of splits mean.

    Raises:
        DataError: A column that is named for splits holds something else, or two columns name different splits.
    """
    columns = {name: values for name, values in columns.items() if any(map(str.strip, values))}
    named = columns_named_for_splits(columns)
    known: dict[str, list[str]] = {}
    for name in [*named, *(name for name in columns if name not in named)]:
        meanings = _meanings(columns[name], name, search)
        if meanings is not None:
            known[name] = [meanings[text] for text in columns[name]]
    if not known:
        if named:
            _refuse(path, named[0], columns[named[0]], search)
        return None
    first, *more = [name for name in named if name in known] or list(known)
    for other in more:
        if known[first] != known[other]:
            what = f"{path}: the columns {shown_column(first)} and {shown_column(other)} name different splits"
            raise DataError(f"{what}; delete the one that is not meant")
    return known[first]


def meaning_of(text: str, column: str, search: FolderSearch) -> str | None:
    """Return the split that a value of a column stands for, `LEFT_OUT`, or None where it is neither."""
    text = text.strip()
    flag = _FLAGS.get(fold(column))
    if flag is not None and text.casefold() in _TRUE | _FALSE:
        return flag if text.casefold() in _TRUE else "train"
    code = code_of(text)
    word = text if code is None else str(code)
    return LEFT_OUT if fold(word) in search.unwanted else search.split(word)


def _meanings(values: Sequence[str], column: str, search: FolderSearch) -> dict[str, str] | None:
    """Return what each value stands for; None where one is no split, or none is."""
    meanings: dict[str, str] = {}
    for text in dict.fromkeys(values):
        if (meaning := meaning_of(text, column, search)) is None:
            return None
        meanings[text] = meaning
    return None if set(meanings.values()) == {LEFT_OUT} else meanings


def _is_named_for_splits(name: str) -> bool:
    """Return whether a word of a column's name is one for splits, as in data_usage or cvSplit."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return fold(name) in _FLAGS or fold(name) == "istrain" or any(word.lower() in _SPLIT_WORDS for word in words)


def _refuse(path: Path, column: str, values: Sequence[str], search: FolderSearch) -> None:
    """Raise DataError for a column that is named for splits and holds something else."""
    meanings = [meaning_of(text, column, search) for text in values]
    unknown = np.flatnonzero([split is None for split in meanings])
    words = list(dict.fromkeys(values[row].strip() for row in unknown.tolist()))
    name = shown_column(column)
    what = f"{name} is {words[0]!r}, not Training, PublicTest, PrivateTest, train, validation or test"
    cure = f"rename the column {name} if it names no split"
    if "" in words:
        cure = f"fill it in, delete the row, or {cure}"
    elif len(words) <= 8 and all(fold(word) for word in words):
        cure = f"say what is meant, such as {split_setting(words, meanings)} (null leaves its rows out); or {cure}"
    raise DataError(f"{path}, {name_rows(unknown)}: {what}; {cure}")
