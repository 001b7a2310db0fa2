"""The expressions: canonical names and order, accepted spellings, number codes of known files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

EMOTIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Canonical names in canonical (alphabetical) order."""

FER2013_CODES: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""By code in the `emotion` column of fer2013.csv. Not alphabetical: 4 is sad here and neutral in sorted folders."""

CodeOrder = Literal["fer2013", "alphabetical", "affectnet", "rafdb", "ferplus", "ckplus"]


def _numbered(words: str, first: int = 0) -> dict[int, str]:
    return dict(enumerate(words.split(), first))


CODE_ORDERS: dict[CodeOrder, dict[int, str]] = {
    "fer2013": dict(enumerate(FER2013_CODES)),
    "alphabetical": dict(enumerate(EMOTIONS)),
    "affectnet": _numbered("neutral happy sad surprise fear disgust angry contempt"),
    "rafdb": _numbered("surprise fear disgust happy sad angry neutral", first=1),
    "ferplus": _numbered("neutral happy surprise sad angry disgust fear contempt"),
    "ckplus": _numbered("neutral angry contempt disgust fear happy sad surprise"),
}
"""The values of `data.code_order`, and the class of each number."""

LABEL_COLUMNS: tuple[str, ...] = (
    *("emotion", "emotions", "label", "labels", "expression", "expressions", "class", "classes"),
    *("emotionlabel", "labelname", "classname", "category", "target", "emotionname"),
    *("emotionid", "emotioncode", "labelid", "facialexpression", "groundtruth", "sentiment", "y"),
)
"""Folded names of columns that hold labels, the surest first."""

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


def canonical(name: str, aliases: Mapping[str, str] | None = None, code_order: CodeOrder | None = None) -> str | None:
    """Return the class that a folder or a value of a column stands for, or None where it is unknown.

    Case, blanks, punctuation and a number before or after (`0_angry`, `fear-1`) are ignored. `aliases` are the user's
    own spellings, which take precedence; an unknown value is a class of its own. `code_order` says what numbers mean;
    None: a number alone is unknown.

    >>> canonical("Suprise"), canonical("0_Angry"), canonical("bored"), canonical("bored", {"bored": "neutral"})
    ('surprise', 'angry', None, 'neutral')
    >>> canonical("3.0", code_order="fer2013"), canonical("class_4", code_order="rafdb")
    ('happy', 'happy')
    """
    own = {} if aliases is None else {fold(str(spelling)): str(meaning) for spelling, meaning in aliases.items()}
    number = code_of(name)
    folded = fold(name if number is None else name.partition(".")[0])  # "3.0" is not 30
    spellings = [folded, folded.lstrip("0123456789"), fold(re.sub(r"[\W_]+\d+[\W_]*$", "", name))]
    for spelling in [*spellings, *([] if number is None else [str(number)])]:
        if spelling in own:
            return ALIASES.get(fold(own[spelling]), own[spelling])
        if spelling in ALIASES:
            return ALIASES[spelling]
    return None if number is None or code_order is None else CODE_ORDERS[code_order].get(number)


def code_of(name: str) -> int | None:
    """Return the number that a label is, or None where it is a word.

    >>> code_of("3"), code_of(" 3.0"), code_of("03"), code_of("class_3"), code_of("3.5"), code_of("happy")
    (3, 3, 3, 3, None, None)
    """
    words = r"(?:(?:class|label|emotion|expression|category)[\s_-]*)?"
    found = re.fullmatch(rf"{words}(\d{{1,9}})(?:\.0*)?", name.strip().casefold(), re.ASCII)
    return None if found is None else int(found[1])
