"""Cells of the CSV files that we write, so that a spreadsheet shows names of files and classes and runs no formula.

A text that begins with = + - @, a tab or a carriage return gets an apostrophe in front, which spreadsheets take for
"this is text"; so does one that begins with apostrophes before these, and reading removes one again. Numbers stay
numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FORMULA = re.compile(r"'*[=+\-@\t\r]")
GUARDED = re.compile(r"'+[=+\-@\t\r]")


def guard(value: Any) -> Any:
    """Return a cell as it is written.

    >>> guard("=1+1"), guard("-0.5"), guard(-0.5), guard("a=b")
    ("'=1+1", '-0.5', -0.5, 'a=b')
    """
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) and not _is_number(value) else value


def unguard(value: Any) -> Any:
    """Return a cell as it was before `guard`.

    >>> unguard("'=1+1"), unguard("'quoted'")
    ('=1+1', "'quoted'")
    """
    return value[1:] if isinstance(value, str) and GUARDED.match(value) else value


def guard_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of which every text, those in the header and the index included, is guarded."""
    texts = table.select_dtypes(exclude="number").columns
    return table.assign(**{name: table[name].map(guard) for name in texts}).rename(index=guard, columns=guard)


def unguard_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return what `guard_table` was given, of a table that was read from a file."""
    texts = table.select_dtypes(exclude="number").columns
    return table.assign(**{name: table[name].map(unguard) for name in texts}).rename(columns=unguard)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
