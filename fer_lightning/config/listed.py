"""What the YAML files under `conf/` list: the groups of a verb, their options, and every setting with its values."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import yaml

from fer_lightning.config.compose import conf_dir
from fer_lightning.core.flatten import flatten

GLOBAL = "# @package _global_"  # in a file whose keys do not belong to its group


@functools.cache
def groups_of(verb: str) -> Mapping[str, str | None]:
    """Return the groups that a verb composes, each with the option that it takes by default."""
    entries = _read(f"{verb}.yaml").get("defaults", [])
    return {group: option for entry in entries if isinstance(entry, dict) for group, option in entry.items()}


def own_settings(verb: str) -> list[str]:
    """Return the settings of a verb that belong to no group."""
    return [key for key in _read(f"{verb}.yaml") if key not in ("defaults", "hydra", *groups_of(verb))]


def options_of(group: str) -> list[str]:
    """Return the names that may follow `group=`, in alphabetical order."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


@functools.cache
def listed_settings(verb: str = "train") -> Mapping[str, list[Any]]:
    """Return the dotted key of every setting of a verb, with the values that the options of its groups give it."""
    found: dict[str, list[Any]] = {}
    for group in groups_of(verb):
        for option in options_of(group):
            content = {key: value for key, value in _read(f"{group}/{option}.yaml").items() if key != "defaults"}
            prefix = "" if _is_global(group, option) else f"{group}."
            for key, value in flatten(content, prefix).items():
                found.setdefault(key, []).append(value)
    own = {key: value for key, value in _read(f"{verb}.yaml").items() if key not in ("defaults", "hydra")}
    for key, value in flatten(own).items():
        found.setdefault(key, []).append(value)
    return found


def settings_in(group: str, option: str) -> set[str]:
    """Return the arguments that an option of a group lists itself."""
    return {key for key in _read(f"{group}/{option}.yaml") if key != "defaults" and not key.startswith("_")}


def _is_global(group: str, option: str) -> bool:
    return GLOBAL in (conf_dir() / group / f"{option}.yaml").read_text(encoding="utf-8")


@functools.cache
def _read(name: str) -> Mapping[str, Any]:
    return yaml.safe_load((conf_dir() / name).read_text(encoding="utf-8")) or {}
