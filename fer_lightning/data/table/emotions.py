"""The expressions: canonical names and order, accepted spellings, number codes of known files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

EMOTIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Canonical names in canonical (alphabetical) order."""

FER2013_CODES: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""By code in the `emotion` column of fer2013.csv. Not alphabetical: 4 is sad here and neutral in sorted folders."""

CodeOrder = Literal["fer2013", "alphabetical"]
CODE_ORDERS: dict[CodeOrder, tuple[str, ...]] = {"fer2013": FER2013_CODES, "alphabetical": EMOTIONS}
"""The values of `data.code_order` and what each number then means."""

# Only unambiguous spellings: a folder `bored` needs `data.aliases={bored: …}`.
# contempt is the eighth class of FER+, CK+ and AffectNet; it is not in EMOTIONS.
_SPELLINGS: dict[str, str] = {
    "angry": "angry anger angers angryness angriness an",
    "disgust": "disgust disgusts disgusted disgusting disgrace di",
    "fear": "fear fears fearful fearfulness afraid scared fe af",
    "happy": "happy happiness happyness joy joyful ha",
    "neutral": "neutral neutrality calm calmness ne",
    "sad": "sad sadness sa",
    "surprise": "surprise surprises surprised surprize suprise suprised superise su",
    "contempt": "contempt contemptuous",
}

ALIASES: dict[str, str] = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings.split()}
"""Folded spelling (see `fold`) to canonical name."""


def fold(name: str) -> str:
    """Return `name` without case, blanks and punctuation, for comparing names.

    >>> fold(" Very-Happy_")
    'veryhappy'
    """
    return re.sub(r"[\W_]+", "", name).casefold()


def canonical(name: str, aliases: Mapping[str, str] | None = None) -> str | None:
    """Return the class that a spelling stands for, or None where it is unknown.

    Case, blanks, punctuation and leading digits (`0_angry`, `1-fear`) are ignored; a number alone is unknown.
    `aliases` are the user's own spellings, which take precedence; an unknown value is a class of its own.

    >>> canonical("Suprise"), canonical("0_Angry"), canonical("bored"), canonical("bored", {"bored": "neutral"})
    ('surprise', 'angry', None, 'neutral')
    """
    own = {} if aliases is None else {fold(str(spelling)): str(meaning) for spelling, meaning in aliases.items()}
    folded = fold(name)
    for spelling in (folded, folded.lstrip("0123456789")):
        if spelling in own:
            return ALIASES.get(fold(own[spelling]), own[spelling])
        if spelling in ALIASES:
            return ALIASES[spelling]
    return None
