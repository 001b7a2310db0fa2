"""Reads a configuration whose values may be missing, or refer to what is not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


def get(cfg: DictConfig, key: str) -> Any:
    """Return the value at a dotted key; None where there is none or it cannot be resolved."""
    try:
        return OmegaConf.select(cfg, key)
    except OmegaConfBaseException:
        return None


def own_value(node: DictConfig, key: str) -> Any:
    """Return a value that stands here itself; an interpolation is checked where its value stands."""
    return None if key not in node or OmegaConf.is_interpolation(node, key) else get(node, key)


def walk(node: DictConfig, prefix: str) -> Iterator[tuple[str, DictConfig]]:
    """Yield `node` and every mapping below it, each with the prefix of its keys, such as `callbacks.stop.`."""
    yield prefix, node
    for key in node:
        child = node._get_node(key)  # as it stands: resolving hundreds of values takes a tenth of a second
        if isinstance(child, DictConfig) and not (child._is_none() or child._is_missing() or child._is_interpolation()):
            yield from walk(child, f"{prefix}{key!s}.")
