"""The settings of runs as flat tables, which of them differ between runs, and short names for those."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fer_lightning.core.flatten import flatten
from fer_lightning.core.former_names import ADDED, SETTINGS, TARGETS
from fer_lightning.runs.config_hash import ELSEWHERE
from fer_lightning.runs.schema import is_number, read_text

SEEDS = ("seed", "data.seed", "data.draw_seed")
WATCHING = ("progress_bar", "lr_monitor", "history", "batch_preview", "validation_pictures", "stop_on_interrupt")
# where files are and how a run is watched: no score depends on these
IRRELEVANT = (
    *("hydra", "split", "ckpt_path", "data.cache_dir", "machine", "tune"),  # what was found stands in its place
    *("trainer.enable_progress_bar", "trainer.profiler"),
    *(f"callbacks.{name}" for name in (*WATCHING, "micro_batches")),
    *ELSEWHERE,
)
TARGET = "_target_"
NAMED = ("augmentation",)  # groups whose options are one class with other values: the name says more than these


@dataclass(frozen=True)
class Settings:
    """The settings of a run."""

    values: Mapping[str, Any] = field(default_factory=dict)  # dotted key → number, text, bool or None; lists are text
    links: frozenset[str] = frozenset()  # keys that only repeat the value of another


def read_settings(path: Path) -> Settings:
    """Read a run's `.hydra/config.yaml`, or raise OSError or ValueError; interpolations of just a key are resolved."""
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise ValueError("it holds no settings")
    flat = {key: _as_setting(value) for key, value in flatten(tree).items()}
    unused = {key for key in SETTINGS if not flat.get(key)}  # a setting of an earlier version, switched off
    left_out = tuple(f"{key}." for key in (*IRRELEVANT, *unused))
    raw = {key: value for key, value in flat.items() if not f"{key}.".startswith(left_out)}
    raw |= {key: TARGETS.get(str(raw[key]), raw[key]) for key in raw if key.endswith(TARGET)}
    interpolations = {f"${{{key}}}": key for key in raw}
    links = {key: interpolations[value] for key, value in raw.items() if value in interpolations}
    return Settings({key: raw[links.get(key, key)] for key in raw}, frozenset(links))


def read_yaml(path: Path) -> Any:
    """Return what a file of Hydra holds, or raise OSError or ValueError; it has no aliases, which can grow for ever."""
    text = read_text(path)
    # ten times as fast, where PyYAML was built with it; but it takes names of files that are not UTF-8 for mistakes
    plain = re.search(r"[&*]\w|\\u[dD]|[\ud800-\udfff]", text)
    try:
        return yaml.load(text, _PlainLoader if plain else getattr(yaml, "CSafeLoader", _PlainLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is no YAML: {error}") from error


class _PlainLoader(yaml.SafeLoader):
    """Refuses aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds aliases")
        return super().compose_node(parent, index)


def _as_setting(value: object) -> int | float | str | bool | None:
    """Return a value that can be compared: a number of a usual size, text, a truth value or None."""
    if value is None or isinstance(value, (bool, str)):
        return value
    return value if isinstance(value, (int, float)) and is_number(value) else str(value)


def with_choices(settings: Settings, overrides: Iterable[str]) -> Settings:
    """Return settings that also hold the typed options of the groups in `NAMED`: `augmentation` → `strong`."""
    parts = (word.lstrip("+").partition("=") for word in overrides)
    chosen = {key: value for key, _, value in parts if key in NAMED and value}
    return Settings({**settings.values, **chosen}, settings.links) if settings.values else settings


def differing_keys(runs: Sequence[Settings], typed: Collection[str] = ()) -> list[str]:
    """Return the keys whose values differ between runs: first those that were typed, then those of a typed group.

    Keys that follow from another are left out: a key that always repeats another, and a key of only some choices of a
    group (AdamW's `amsgrad` beside SGD's `momentum`) whose default was not changed. A key that an older version did not
    have counts as `former_names.ADDED` says, or as null. `typed` are the keys and groups on the runs' command lines.
    """
    vary = varying(dict.fromkeys(key for run in runs for key in run.values), runs)
    free = [key for key in vary if not all(key in run.links or key not in run.values for run in runs)]
    kept = [key for key in free if not _follows(key, free, runs)]

    def order(key: str) -> tuple[bool, ...]:
        group = key.split(".")[0]  # seeds last: their effect is noise
        return key in SEEDS, key not in typed, _without_target(key) not in typed, group not in typed

    return sorted(kept, key=order)


def varying(keys: Iterable[str], runs: Sequence[Settings]) -> list[str]:
    """Return those of the keys whose values differ between runs."""
    return [key for key in keys if len({identity(run, [key]) for run in runs}) > 1]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the shortest name for each key that no other has: `lr`, or `optimizer.lr` beside `scheduler.lr`."""
    parts = {key: _without_target(key).split(".") for key in keys}

    def shorten(key: str) -> str:
        ends = (parts[key][-length:] for length in range(1, len(parts[key])))
        unique = (end for end in ends if sum(other[-len(end) :] == end for other in parts.values()) == 1)
        return ".".join(next(unique, parts[key]))

    return {key: shorten(key) for key in keys}


def format_value(key: str, value: Any) -> str:
    """Return a value as people write it; a path or a class by its last part."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    if key.endswith(TARGET):
        return text.rpartition(".")[2]
    return text.rstrip("/").rpartition("/")[2] if re.search(r"^[~./]|/.*/", text) else text


def identity(settings: Settings, keys: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return a value that is equal for two runs that agree on these keys."""
    return tuple(_comparable(settings.values.get(key, ADDED.get(key))) for key in keys)


def values_as_text(settings: Settings, keys: Sequence[str]) -> list[str]:
    """Return the values of these keys as text, a dash for a key that the run does not know."""
    return [format_value(key, settings.values[key]) if key in settings.values else "–" for key in keys]


def _without_target(key: str) -> str:
    return "model" if key == "model.backbone" else key.removesuffix(f".{TARGET}")


def _comparable(value: Any) -> tuple[str, str]:
    """Return type and text of a value, by which 1 equals 1.0 and not true."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return ("number", repr(float(value))) if number else (type(value).__name__, str(value))


def _follows(key: str, vary: Sequence[str], runs: Sequence[Settings]) -> bool:
    """Whether the choice of a named option or of a class for its group tells the value of a key.

    The runs with the key are then those that chose one class, and all of these agree on its value.
    """
    with_key = [run for run in runs if key in run.values]
    parts = key.split(".")
    group = parts[0]
    if group != key and group in vary and all(group in run.values for run in runs):
        choices = {(str(run.values[group]), _comparable(run.values.get(key))) for run in runs}
        return len(choices) == len({choice for choice, _ in choices})
    targets = [".".join([*parts[:end], TARGET]) for end in range(len(parts) - 1, 0, -1)]
    target = next((name for name in targets if name in vary and name != key), None)
    if target is None or len(with_key) == len(runs):
        return False
    pairs = {(str(run.values.get(target)), _comparable(run.values[key])) for run in with_key}
    return len(pairs) == len({choice for choice, _ in pairs})
