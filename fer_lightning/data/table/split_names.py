"""What names of splits mean, in folders and in columns of a table alike; and what such columns are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from fer_lightning.data.table.emotions import fold

_WORDS: dict[str, str] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
    "publictest": "validation",  # as the competition FER-2013 used them
    "privatetest": "test",
}
_FILLERS = frozenset(
    (
        *("set", "sets", "split", "data", "dataset", "folder", "fer", "fer2013"),
        *("image", "images", "img", "imgs", "pictures", "samples", "faces"),
        *("label", "labels", "metadata", "annotation", "annotations", "list"),
    )
)

SPLIT_COLUMNS: tuple[str, ...] = (
    *("usage", "split", "splits", "subset", "partition", "set"),
    *("datasplit", "dataset_split", "splitname", "settype", "usages"),
)
"""Folded names of columns that say the split of a row, the surest first."""


def split_of(name: str, aliases: Mapping[str, str] | None = None) -> str | None:
    """Return the split that a folder or a value of a column stands for, or None where it takes a guess.

    Case, punctuation and words such as "set", "data" and "images" do not matter. "eval" and "holdout" are used for
    validation and for test, so they are no names of a split. `aliases` may say what is meant, {"eval": "test"}.

    >>> split_of("Training"), split_of("test_set"), split_of("PublicTest"), split_of("eval")
    ('train', 'test', 'validation', None)
    >>> split_of("eval", {"eval": "validation"})
    'validation'
    """
    folded = fold(name)
    for spelling, meaning in ({} if aliases is None else aliases).items():
        if fold(str(spelling)) == folded:
            return own_split(meaning)
    if folded in _WORDS:
        return _WORDS[folded]
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", re.sub(r"(?i)fer.?2013", "fer", name))
    words = [word for part in parts if (word := part.lower()) not in _FILLERS]
    if len(words) == 1:
        glued = re.fullmatch(r"(.+?)(set|data|images|split)", words[0])  # "trainset"
        return _WORDS.get(words[0] if glued is None else glued[1])
    joined = "".join(words)  # "Public Test"
    return _WORDS[joined] if joined in ("publictest", "privatetest") else None


def own_split(meaning: object) -> str | None:
    """Return the split that the value of an alias names ("test" in {"eval": "test"}), None where it is a class."""
    return _WORDS.get(fold(str(meaning)))


def split_columns(header: Iterable[str]) -> list[str]:
    """Return the columns of a header that say the split of a row, the surest first.

    >>> split_columns(["emotion", " Usage", "set"])
    [' Usage', 'set']
    """
    return find_columns(header, SPLIT_COLUMNS)


def find_columns(header: Iterable[str], names: tuple[str, ...]) -> list[str]:
    """Return the columns of a header whose folded name is one of `names`, in the order of these."""
    ranks = {fold(name): rank for rank, name in enumerate(names)}
    return sorted((name for name in header if fold(str(name)) in ranks), key=lambda name: ranks[fold(str(name))])
