"""`augmentation.extra`: Albumentations transforms by name and arguments."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # without it, importing asks the network for a newer version

import albumentations as A

from fer_lightning.core.errors import ConfigError
from fer_lightning.core.suggestions import did_you_mean


def build_extra(items: list[dict[str, Any]] | None) -> list[A.BasicTransform]:
    """Return the transforms listed under `augmentation.extra`.

    Raises:
        ConfigError: a transform is unknown or rejects its arguments.
    """
    if items is None:
        return []
    if not isinstance(items, (list, tuple)):
        raise ConfigError(f"augmentation.extra must be a list such as [{{name: GaussNoise, p: 0.2}}], not {items!r}")
    return [_build_named(item) for item in items]


def _build_named(item: Any) -> A.BasicTransform:
    """Build one transform (or OneOf, SomeOf … of nested `transforms`) from its name and arguments."""
    if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
        raise ConfigError(f"augmentation.extra: {item!r} must name a transform, such as {{name: GaussNoise, p: 0.2}}")
    name, arguments = item["name"], {str(key): value for key, value in item.items() if key != "name"}
    kinds = (A.BasicTransform, A.BaseCompose)
    known = {key: value for key, value in vars(A).items() if inspect.isclass(value) and issubclass(value, kinds)}
    cls = known.get(name)
    if cls is None:
        hint = did_you_mean(name, known)
        raise ConfigError(f"augmentation.extra: Albumentations {A.__version__} has no transform {name!r}{hint}")
    if issubclass(cls, A.BaseCompose) and isinstance(arguments.get("transforms"), (list, tuple)):
        arguments["transforms"] = [_build_named(inner) for inner in arguments["transforms"]]
    try:
        inspect.signature(cls).bind(**arguments)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Albumentations warns and uses its defaults
            return cls(**arguments)
    except Exception as error:  # whatever the constructor raises
        raise ConfigError(f"augmentation.extra: {name}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """Return an error's message as one line; pydantic's own has several and ends in a link."""
    if error.__cause__ is not None and hasattr(error.__cause__, "errors"):  # pydantic's ValidationError
        found = error.__cause__.errors()
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']} (got {one['input']!r})" for one in found)
    return " ".join(str(error).split()) or type(error).__name__
