"""What to type instead of a value that does not fit its setting."""

from __future__ import annotations

import re
from typing import Any

from fer_lightning.config.habits import VALUES
from fer_lightning.config.listed import example_of
from fer_lightning.config.signatures import convert, fits
from fer_lightning.core.choices import choices_of
from fer_lightning.core.suggestions import close_matches, did_you_mean

YES, NO = ("yes", "on", "y", "1"), ("no", "off", "n", "0")
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}  # seconds


def advise(key: str, value: Any, hint: Any) -> str:
    """Return `; type key=other` for a value that lacks quotes or brackets, has a unit, is a synonym, or misspelt."""
    text = str(value)
    if key == "trainer.max_time":
        return f"; type {key}={duration(text) or '00:02:00:00'} (days:hours:minutes:seconds)"
    if (other := VALUES.get(key, {}).get(text.lower())) is not None:
        return f"; type {key}={other}"
    if text.lower() in (*YES, *NO) and fits(True, hint):
        return f"; type {key}={'true' if text.lower() in YES else 'false'}"
    if isinstance(value, (int, float)) and fits(text, hint) and not fits(1, hint):
        return f"; type \"{key}='{value}'\""
    if isinstance(value, (str, int, float)) and fits(convert([value], hint), hint):
        return f"; type '{key}=[{value}]'"
    if isinstance(value, str) and (number := _leading_number(value, hint)) is not None:
        return f"; type {key}={number}"
    choices = [str(choice) for choice in choices_of(hint) if choice is not None]
    wrong = [str(item) for item in value if not fits([item], hint)] if isinstance(value, list) else []
    if said := "".join(did_you_mean(item, choices) for item in wrong):
        return said
    if near := close_matches(text, choices):
        return f"; did you mean {' or '.join(f'{key}={name}' for name in dict.fromkeys(near))}?"
    example = example_of(key, lambda one: fits(convert(one, hint), hint))
    if example is None:
        return "; leave it out"
    return f"; type '{example}', for example" if "[" in example else f"; type {example}, for example"


def duration(text: str) -> str | None:
    """Return a time as Lightning reads it, days:hours:minutes:seconds; None where `text` is none.

    >>> duration("2h"), duration("90min"), duration("1:30:00"), duration("soon")
    ('00:02:00:00', '00:01:30:00', '00:01:30:00', None)
    """
    clock, unit = re.fullmatch(r"(\d+):(\d+)(?::(\d+))?", text), re.fullmatch(r"(\d+(?:\.\d+)?)\s*([dhms])[a-z]*", text)
    if clock:
        seconds = float(int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3] or 0))
    elif unit:
        seconds = float(unit[1]) * UNITS[unit[2]]
    else:
        return None
    whole = int(seconds)
    return f"{whole // 86400:02}:{whole // 3600 % 24:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def _leading_number(text: str, hint: Any) -> int | float | None:
    """Return the number of `48px`, `48x48`, `10%` or `0,01`, as the type that fits `hint`."""
    found = re.fullmatch(r"\s*(-?\d*[.,]?\d+)\s*(%?)[a-zA-Z]*\d*\s*", text)
    if not found:
        return None
    number = float(found[1].replace(",", ".")) / (100 if found[2] else 1)
    value: int | float = convert(number, hint)
    return value if fits(value, hint) else None
