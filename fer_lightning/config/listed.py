"""What the YAML files under `conf/` list: the groups of a verb, their options, and every setting with its values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Mapping
from typing import Any

import yaml

from fer_lightning.config.compose import conf_dir
from fer_lightning.core.flatten import flatten

USUAL = (True, False, 1, 0.5, [1], ["happy"], None)  # values that most types take one of
COMBINED = ("callbacks", "logger", "experiment")  # groups of which several options may be taken together
GLOBAL = "# @package _global_"  # in a file whose keys do not belong to its group


@functools.cache
def groups_of(verb: str) -> Mapping[str, str | None]:
    """Return the groups that a verb composes, each with the option that it takes by default."""
    entries = _read(f"{verb}.yaml").get("defaults", [])
    return {group: option for entry in entries if isinstance(entry, dict) for group, option in entry.items()}


def own_settings(verb: str) -> list[str]:
    """Return the settings of a verb that belong to no group."""
    return [key for key in _read(f"{verb}.yaml") if key not in ("defaults", "hydra", *groups_of(verb))]


def other_names(settings: Container[str]) -> Mapping[str, str]:
    """Return settings of a verb by other names that they may be typed with: `model` is a file where none is trained."""
    trains = "monitor" in settings or "suite" in settings
    return {"model": "ckpt_path"} if "ckpt_path" in settings and not trains else {}


def options_of(group: str) -> list[str]:
    """Return the names that may follow `group=`, in alphabetical order."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


@functools.cache
def listed_settings(verb: str = "train") -> Mapping[str, list[Any]]:
    """Return the dotted key of every setting of a verb, with the values that its groups give it, the default first."""
    found: dict[str, list[Any]] = {}
    for group in groups_of(verb):
        default = groups_of(verb)[group]
        for option in sorted(options_of(group), key=lambda one: one != default):
            content = {key: value for key, value in _read(f"{group}/{option}.yaml").items() if key != "defaults"}
            prefix = "" if _is_global(group, option) else f"{group}."
            for key, value in flatten(content, prefix).items():
                found.setdefault(key, []).append(value)
    own = {key: value for key, value in _read(f"{verb}.yaml").items() if key not in ("defaults", "hydra")}
    for key, value in flatten(own).items():
        found.setdefault(key, []).append(value)
    return found


def example_of(key: str, fits: Callable[[Any], bool]) -> str | None:
    """Return `key=value` with a value that fits, of the YAML files where they give one; None where there is none."""
    verbs = sorted(path.stem for path in conf_dir().glob("*.yaml"))
    values = [value for verb in ("train", *verbs) for value in listed_settings(verb).get(key, [])]
    plain = [value for value in (*values, *USUAL) if "$" not in str(value) and value != "???" and fits(value)]
    return f"{key}={_typed(plain[0])}" if plain else None


def is_listed(key: str, value: Any) -> bool:
    """Return whether a YAML file gives a setting this value."""
    return any(_plain(one) == _plain(value) for one in listed_settings().get(key, []))


def _plain(value: Any) -> str:
    """Return a value as text, numbers alike however they are written: PyYAML reads 1e-3 as text."""
    try:
        return str(float(value))
    except (TypeError, ValueError):
        return str(value)


def _typed(value: Any) -> str:
    """Return a value of a YAML file as it is typed on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def settings_in(group: str, option: str) -> set[str]:
    """Return the arguments that an option of a group lists itself."""
    return {key for key in _read(f"{group}/{option}.yaml") if key != "defaults" and not key.startswith("_")}


def _is_global(group: str, option: str) -> bool:
    return GLOBAL in (conf_dir() / group / f"{option}.yaml").read_text(encoding="utf-8")


@functools.cache
def _read(name: str) -> Mapping[str, Any]:
    return yaml.safe_load((conf_dir() / name).read_text(encoding="utf-8")) or {}
