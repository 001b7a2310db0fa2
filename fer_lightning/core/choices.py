"""Arguments that are one of a few values: the `Literal` in a signature says which."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union


def check_choices(function: Callable[..., object], values: Mapping[str, object], prefix: str = "") -> None:
    """Check the arguments that `function` annotates as a `Literal`, or as one or None.

    Args:
        function: whose signature lists the choices.
        values: its arguments by name, such as `locals()`.
        prefix: of the names in the message.

    Raises:
        ValueError: a value is none of its choices.

    >>> def read(layout: Literal["auto", "csv"]) -> None: ...
    >>> check_choices(read, {"layout": "cvs"}, prefix="data.")
    Traceback (most recent call last):
    ValueError: data.layout=cvs: choose one of auto, csv
    """
    for name, hint in typing.get_type_hints(function).items():
        choices = _choices(hint)
        if choices and name in values and values[name] not in choices:
            raise ValueError(f"{prefix}{name}={values[name]}: choose one of {', '.join(map(str, choices))}")


def _choices(hint: Any) -> tuple[object, ...]:
    """Return the values that `hint` allows; nothing where it allows others than those listed."""
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint)
    if hint is NoneType:
        return (None,)
    if typing.get_origin(hint) in (Union, UnionType):
        parts = [_choices(part) for part in typing.get_args(hint)]
        return sum(parts, ()) if all(parts) else ()
    return ()
