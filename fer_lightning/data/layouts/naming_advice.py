"""What to type where names of folders or labels are unknown: settings that work as they are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from fer_lightning.core.suggestions import close_matches
from fer_lightning.data.table.emotions import ALIASES, CODE_ORDERS, CodeOrder, code_of, fold
from fer_lightning.data.table.image_table import SPLITS

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


def split_setting(words: Iterable[str], there: Iterable[str | None] | None) -> str:
    """Return the setting `data.aliases` for unknown names of splits.

    The guess is the split in the name, or one that is not `there`; `null`, which leaves it out, where that is None.

    >>> split_setting(["train_aug"], ["train", "test"]), split_setting(["eval"], ["train", "test"])
    ("'data.aliases={trainaug: train}'", "'data.aliases={eval: validation}'")
    >>> split_setting(["a", "b"], []), split_setting(["fer2013"], None)
    ("'data.aliases={a: train, b: test}'", "'data.aliases={fer2013: null}'")
    >>> split_setting("0123", [])
    "'data.aliases={0: train, 1: train, 2: validation, 3: test}'"
    """
    words, free = list(words), [split for split in SPLITS if there is not None and split not in there]
    if len(free) == 3:  # of two words none is validation, and of numbered folds most are train
        free = ["train"] * max(1, len(words) - 2) + ["validation"] * (len(words) != 2) + ["test"]
    guesses = iter(free)
    pairs = []
    for word in words:
        key = fold(word) if (code := code_of(word)) is None else str(code)
        near = [*(split for split in SPLITS if split[:5] in key), *close_matches(key, SPLITS, cutoff=0.8)]
        guess = near[0] if near else next(guesses, "null" if there is None else "test")
        pairs.append(f"{key}: {guess}")
    return f"'data.aliases={{{', '.join(pairs)}}}'"


def describe_numbers(where: Path | str, numbers: Iterable[int], code_order: CodeOrder | None) -> str:
    """Return the message on classes that are numbers: the known orders with these, and how to type others."""
    numbers = sorted(set(numbers))
    aliases = alias_setting([str(number) for number in numbers])
    own = f"{aliases} (null leaves one out), or {OWN_NAMES} to take the names as they are"
    if code_order is not None:
        known = ", ".join(map(str, CODE_ORDERS[code_order]))
        what = f"{where}: class {numbers[-1]} is not a number of data.code_order={code_order} ({known})"
        return f"{what}; leave that out, or say what is meant: {own}"
    having = {key: order for key, order in CODE_ORDERS.items() if set(numbers) <= set(order)}
    # those with the same numbers, or contempt beside them
    same = {key: order for key, order in having.items() if all(order[n] == "contempt" for n in set(order) - {*numbers})}
    offers = [
        f"data.code_order={key} ({', '.join(f'{code} {name}' for code, name in order.items())})"
        for key, order in (same or having).items()
    ]
    what = f"{where}: classes are numbered, {numbers[0]} to {numbers[-1]}; say which is which"
    return f"{what}: {'; or '.join([*offers, own])}"
