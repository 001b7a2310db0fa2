"""What a constructor takes: imports a `_target_` and checks values of a YAML file against its annotations."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import os
import pkgutil
import sys
import typing
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union

from fer_lightning.core.choices import choices_of
from fer_lightning.core.former_names import TARGETS
from fer_lightning.core.suggestions import did_you_mean

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}
PLURALS = {int: "whole numbers", float: "numbers", str: "text"}


class Signature(NamedTuple):
    """Type hints by parameter, in order, and whether there are `**kwargs` besides, which take any name."""

    hints: dict[str, Any]
    takes_any: bool


def locate(target: str) -> Any:
    """Import the class or function that a dotted path names.

    Raises:
        ImportError: nothing callable is there; the message names near ones.
    """
    if target in TARGETS:
        raise ImportError(f"{target} is called {TARGETS[target]} today: type that")
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise ImportError(f"{name} needs {error.name}, which is not installed") from error
        else:
            break
    else:
        raise ImportError(f"no module is called '{parts[0]}'")
    for part in parts[cut:]:
        if not hasattr(found, part):
            submodules = [item.name for item in pkgutil.iter_modules(getattr(found, "__path__", []))]
            raise ImportError(f"there is no '{part}' in {name}{did_you_mean(part, [*dir(found), *submodules])}")
        found, name = getattr(found, part), f"{name}.{part}"
    if not callable(found):
        raise ImportError(f"{target} cannot be called")
    return found


@functools.lru_cache(maxsize=256)  # of classes and functions, which are read at each start of a job
def read_signature(target: Any) -> Signature:
    """Return the arguments that `target`, a class or function, takes by name."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):  # some builtins have no signature
        return Signature({}, True)
    owners = [kind for kind in getattr(target, "__mro__", ()) if "__init__" in vars(kind)]
    function = inspect.unwrap(vars(owners[0])["__init__"] if owners else target)
    namespace = getattr(function, "__globals__", None) or vars(sys.modules[target.__module__])
    hints = {}
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            hint = _evaluate(parameter.annotation, namespace)
            hints[name] = hint if parameter.default is not None or hint is Any else Union[hint, None]  # noqa: UP007
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if takes_any and owners[1:] and owners[1].__module__.startswith("fer_lightning."):  # classes of ours pass them on
        inherited = read_signature(owners[1])
        return Signature(inherited.hints | hints, inherited.takes_any)
    return Signature(hints, takes_any)


def fits(value: Any, hint: Any) -> bool:
    """Return whether `value`, of plain YAML types, can be passed as an argument annotated with `hint`.

    A mapping with a `_target_` always fits, because only calling it would show its type; so does any value where the
    hint is no type that YAML can express.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    kind = origin or hint
    if kind is Annotated:
        return fits(value, arguments[0])
    if kind in (Union, UnionType):
        return any(fits(value, argument) for argument in arguments)
    if kind is Literal:
        return any(value == argument and type(value) is type(argument) for argument in arguments)
    if hint is None or hint is NoneType:
        return value is None
    if hint is Any or kind is object or not isinstance(kind, type) or (isinstance(value, dict) and "_target_" in value):
        return True
    if isinstance(value, dict):
        # YAML and Hydra read the key of `{1: surprise}` as a number
        key_hint, item_hint = arguments if len(arguments) == 2 else (Any, Any)
        keys = (key_hint is str or fits(key, key_hint) for key in value)
        fitting = all(keys) and all(fits(item, item_hint) for item in value.values())
        return is_dataclass(kind) or (issubclass(dict, kind) and fitting)
    if isinstance(value, list):
        if kind is tuple and arguments and ... not in arguments:
            return len(value) == len(arguments) and all(map(fits, value, arguments))
        return _takes_lists(kind) and all(fits(item, arguments[0] if arguments else Any) for item in value)
    return _scalar_fits(value, kind)


def convert(value: Any, hint: Any) -> Any:
    """Return a plain value as the type that `hint` asks for, and unchanged where it has no such meaning.

    Whole numbers become floats, floats without a fraction whole numbers, and the text of a number or of true and false
    becomes that, each where `hint` takes no value of the type that it has.

    >>> convert(1, float), convert("1e-3", float | None), convert([0, 1], tuple[float, float]), convert(1, int | float)
    (1.0, 0.001, [0.0, 1.0], 1)
    """
    hints = list(_alternatives(hint))
    if isinstance(value, dict):
        item = next((args[1] for args in map(typing.get_args, hints) if len(args) == 2), Any)
        return value if "_target_" in value else {key: convert(one, item) for key, one in value.items()}
    if isinstance(value, list):
        kind = next((one for one in hints if _takes_lists(typing.get_origin(one) or one)), list)
        items = typing.get_args(kind) or (Any,)
        each = items if kind is not list and len(items) == len(value) and ... not in items else items[:1] * len(value)
        return [convert(*pair) for pair in zip(value, each, strict=True)]
    if isinstance(value, str) and not fits(value, hint):
        number = _read_number(value)
        return value if number is None or not fits(convert(number, hint), hint) else convert(number, hint)
    if value in choices_of(hint) or type(value) in hints or Any in hints:
        return value
    if type(value) is int and float in hints:
        return float(value)
    return int(value) if type(value) is float and value.is_integer() and int in hints else value


def _alternatives(hint: Any) -> Iterator[Any]:
    """Yield the types that `hint` allows one of."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, UnionType, Annotated):
        for argument in arguments[:1] if origin is Annotated else arguments:
            yield from _alternatives(argument)
    else:
        yield hint


def _read_number(text: str) -> int | float | bool | None:
    """Return the number, true or false that a text spells."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return None


def describe(hint: Any) -> str:
    """Return what `hint` asks for in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, UnionType, Literal, Annotated):
        choices = list(dict.fromkeys(map(str, choices_of(hint))))
        nested = (Union, UnionType, Literal)
        parts = (item for item in arguments if typing.get_origin(item) not in nested and not isinstance(item, str))
        others = sorted(set(map(describe, parts)), key=lambda word: (word == "null", "_target_" in word, word))
        return " or ".join([*([f"one of {', '.join(choices)}"] if len(choices) > 1 else choices), *others])
    if hint in WORDS or hint is None:
        return WORDS[hint or NoneType]
    if origin is tuple and ... not in arguments:
        alike = PLURALS.get(arguments[0]) if len(set(arguments)) == 1 else None
        return f"a list of {len(arguments)} " + (alike or f"({', '.join(map(describe, arguments))})")
    kind = origin or hint
    if isinstance(kind, type) and issubclass(kind, os.PathLike):
        return "a path"
    if isinstance(kind, type) and (issubclass(dict, kind) or is_dataclass(kind)):
        plain = len(arguments) == 2 and {*arguments} <= {*PLURALS}
        return f"a mapping of {PLURALS[arguments[0]]} to {PLURALS[arguments[1]]}" if plain else "a mapping"
    if _takes_lists(kind):
        if arguments and typing.get_origin(arguments[0]) is Literal:
            return f"a list of some of {', '.join(map(str, choices_of(hint)))}"
        return "a list" + (f" of {PLURALS.get(arguments[0], describe(arguments[0]))}" if arguments else "")
    return f"a {getattr(kind, '__name__', kind)} (a mapping with its `_target_`)"


def _evaluate(annotation: Any, namespace: dict[str, Any]) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    if not isinstance(annotation, str):
        return annotation
    try:  # one by one: a name that is imported for type checkers only must not hide the others
        return eval(annotation, namespace)
    except Exception:
        return Any


def _takes_lists(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(list, kind) or kind in (tuple, set, frozenset))


def _scalar_fits(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, str):  # a string is a sequence of characters, which a YAML file does not mean
        return kind in (str, os.PathLike) or issubclass(kind, (PurePath, Enum))
    if isinstance(value, int) and kind is float:
        return True
    try:
        return isinstance(value, kind)
    except TypeError:  # protocols without runtime checks
        return True
