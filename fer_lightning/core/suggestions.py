"""Suggestions for a misspelt name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def close_matches(name: str, options: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """Return up to three options whose similarity to `name` is `cutoff`, in [0, 1], or more, the nearest first.

    Case does not matter. See `difflib.get_close_matches`.
    """
    folded: dict[str, list[str]] = {}
    for option in options:
        folded.setdefault(option.casefold(), []).append(option)
    matches = difflib.get_close_matches(name.casefold(), folded, cutoff=cutoff)
    return [option for match in matches for option in folded[match]][:3]


def did_you_mean(name: str, options: Iterable[str], prefix: str = "") -> str:
    """Return `; did you mean a or b?` with `prefix` before each, or nothing where no option is near.

    >>> did_you_mean("hapy", ["happy", "sad"])
    '; did you mean happy?'
    """
    near = [f"{prefix}{found}" for found in close_matches(name, options)]
    return f"; did you mean {' or '.join(near)}?" if near else ""
