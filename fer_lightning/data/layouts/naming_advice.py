"""What to type where names of folders or labels are unknown: settings that work as they are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fer_lightning.core.suggestions import close_matches
from fer_lightning.data.table.emotions import ALIASES, CODE_ORDERS, CodeOrder, code_of, fold

OWN_NAMES = "data.classes=own"


def class_settings(names: Sequence[str]) -> str:
    """Return the settings for unknown classes: `data.aliases`, or the names as they are."""
    hint = "null leaves it out" if len(names) == 1 else "null leaves one out"
    return f"{alias_setting(names)} ({hint}), or {OWN_NAMES} to take the names as they are"


def alias_setting(names: Sequence[str]) -> str:
    """Return the setting `data.aliases` for unknown classes, with a guess of the meaning where possible."""
    words = [spelling for spelling in ALIASES if len(spelling) > 2]  # two letters resemble too many names
    pairs = []
    for name in names:
        near = close_matches(fold(name), words, cutoff=0.7)
        pairs.append(f"{fold(name)}: {ALIASES[near[0]] if near else 'CLASS'}")
    return f"'data.aliases={{{', '.join(dict.fromkeys(pairs))}}}'"


def describe_numbers(folders: Sequence[Path], code_order: CodeOrder | None) -> str:
    """Return the message on class folders that are numbers: the known orders with these, and how to type others."""
    codes = {int(code_of(folder.name) or 0): folder for folder in folders}
    numbers = sorted(codes)
    if code_order is not None:
        known = ", ".join(map(str, CODE_ORDERS[code_order]))
        what = f"class folder {codes[numbers[-1]]} is not a number of data.code_order={code_order} ({known})"
        return f"{what}; leave that out, or say what is meant: {class_settings([str(number) for number in numbers])}"
    span = f"{numbers[0]} to {numbers[-1]}"
    having = {key: order for key, order in CODE_ORDERS.items() if set(numbers) <= set(order)}
    # those with the same numbers, or contempt beside them
    same = {key: order for key, order in having.items() if all(order[n] == "contempt" for n in set(order) - {*numbers})}
    offers = [
        f"data.code_order={key} ({', '.join(f'{code} {name}' for code, name in order.items())})"
        for key, order in (same or having).items()
    ]
    own = f"{alias_setting([str(number) for number in numbers])}, or {OWN_NAMES} to take the names as they are"
    what = f"{folders[0].parent}: classes are numbered, {span}; say which is which"
    return f"{what}: {'; or '.join([*offers, own])}"


def count_images(count: int) -> str:
    """Return "1 image" or "1,200 images"."""
    return f"{count:,} image{'' if count == 1 else 's'}"
