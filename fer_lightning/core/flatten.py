"""Nested settings as one flat table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return dotted key → value for nested mappings with string keys; lists are values, empty mappings vanish.

    >>> flatten({"seed": 1, "optimizer": {"lr": 0.1, "betas": [0.9, 0.99]}})
    {'seed': 1, 'optimizer.lr': 0.1, 'optimizer.betas': [0.9, 0.99]}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
