"""Near misses: what a user probably meant to type."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def close_matches(name: str, options: Iterable[str], most: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return the options that look like `name`, nearest first; case does not count.

    Args:
        name: what was typed.
        options: what could have been meant.
        most: how many are returned at the most.
        cutoff: likeness in [0, 1] that is asked for.
    """
    folded: dict[str, list[str]] = {}
    for option in options:
        folded.setdefault(option.casefold(), []).append(option)
    matches = difflib.get_close_matches(name.casefold(), folded, n=most, cutoff=cutoff)
    return [option for match in matches for option in folded[match]][:most]


def did_you_mean(name: str, options: Iterable[str], prefix: str = "") -> str:
    """Return `; did you mean a or b?` with `prefix` before each, or nothing where no option is near.

    >>> did_you_mean("hapy", ["happy", "sad"])
    '; did you mean happy?'
    """
    near = [f"{prefix}{found}" for found in close_matches(name, options)]
    return f"; did you mean {' or '.join(near)}?" if near else ""
