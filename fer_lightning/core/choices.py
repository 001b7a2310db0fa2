"""Arguments that are one of a few values: the `Literal` in a signature says which."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union


def check_choices(function: Callable[..., object], values: Mapping[str, object], prefix: str = "") -> None:
    """Check the arguments, such as `locals()`, that `function` annotates as a `Literal`, or as one or None.

    Raises:
        ValueError: a value is none of its choices; `prefix` comes before its name in the message.

    >>> def read(layout: Literal["auto", "csv"]) -> None: ...
    >>> check_choices(read, {"layout": "cvs"}, prefix="data.")
    Traceback (most recent call last):
    ValueError: data.layout=cvs: choose one of auto, csv
    """
    for name, hint in typing.get_type_hints(function).items():
        parts = typing.get_args(hint) if typing.get_origin(hint) in (Union, UnionType) else (hint,)
        choices = [*choices_of(hint), *([None] if NoneType in parts else [])]
        others = [part for part in parts if part is not NoneType and typing.get_origin(part) is not Literal]
        if name in values and not others and values[name] not in choices:
            raise ValueError(f"{prefix}{name}={values[name]}: choose one of {', '.join(map(str, choices))}")


def choices_of(hint: Any) -> list[Any]:
    """Return the values that the `Literal`s anywhere in `hint` list."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return list(arguments)
    return [choice for argument in arguments for choice in choices_of(argument)]
