"""`augmentation.extra`: any transform of Albumentations by its name and arguments, or the reason why not."""

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
    """Return the transforms that are named under `augmentation.extra`; none for None.

    Raises:
        ConfigError: one of them is unknown or refuses its arguments.
    """
    if items is None:
        return []
    if not isinstance(items, (list, tuple)):
        raise ConfigError(f"augmentation.extra must be a list such as [{{name: GaussNoise, p: 0.2}}], not {items!r}")
    return [_build_named(item) for item in items]


def _build_named(item: Any) -> A.BasicTransform:
    """One Albumentations transform (or OneOf, SomeOf … over `transforms`) from its name and arguments."""
    if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
        raise ConfigError(f"augmentation.extra: {item!r} must name a transform, such as {{name: GaussNoise, p: 0.2}}")
    arguments = {str(key): value for key, value in item.items() if key != "name"}
    cls = _find_transform(item["name"])
    if issubclass(cls, A.BaseCompose) and isinstance(arguments.get("transforms"), (list, tuple)):
        arguments["transforms"] = [_build_named(inner) for inner in arguments["transforms"]]
    try:
        inspect.signature(cls).bind(**arguments)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Albumentations warns and falls back on its defaults
            return cls(**arguments)
    except Exception as error:  # the constructor's own complaint, of whatever kind
        raise ConfigError(f"augmentation.extra: {item['name']}: {complaint(error)}") from error


def _find_transform(name: str) -> type[A.BasicTransform]:
    kinds = (A.BasicTransform, A.BaseCompose)
    known = {key: value for key, value in vars(A).items() if inspect.isclass(value) and issubclass(value, kinds)}
    if name in known:
        return known[name]
    hint = did_you_mean(name, known)
    raise ConfigError(f"augmentation.extra: Albumentations {A.__version__} has no transform {name!r}{hint}")


def complaint(error: Exception) -> str:
    """Return the reason in one line; pydantic's own text spreads over several and ends in a link."""
    if type(error.__cause__).__name__ == "ValidationError":  # not imported: pydantic is Albumentations' affair
        found = error.__cause__.errors()
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']} (got {one['input']!r})" for one in found)
    return " ".join(str(error).split()) or type(error).__name__
