"""What the files of a run folder must hold: each reader returns that or raises, whatever somebody has put there.

Files may be cut off, edited by hand or of another program; none of that may end a comparison of many runs.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LARGEST = 1e30  # of numbers; beyond it, no measurement is meant, and figures and forests fail
Check = Callable[[object], bool]


def is_number(value: object) -> bool:
    """Whether this is a finite number of a size that can be computed with, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < LARGEST  # False for NaN, too


def check_regular(path: Path) -> None:
    """Raise ValueError for what is no regular file, OSError where nothing is there: a pipe would wait for a writer."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no file")


def read_text(path: Path) -> str:
    """Return the text of a file, or raise OSError or ValueError."""
    check_regular(path)
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, or raise OSError or ValueError."""
    try:
        content = json.loads(read_text(path))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    return content


def read_metrics(path: Path) -> dict[str, Any]:
    """Return `metrics.json`, or raise OSError or ValueError."""
    return _checked(read_object(path), _METRICS)


def read_heat_maps(path: Path) -> dict[str, Any]:
    """Return `heat_maps.json`, or raise OSError or ValueError."""
    return _checked(read_object(path), _HEAT_MAPS)


def read_environment(path: Path) -> dict[str, Any]:
    """Return `environment.json`, or raise OSError or ValueError."""
    content = _checked(read_object(path), _ENVIRONMENT)
    _checked(content.get("data") or {}, _DATA)
    return content


def check_status(content: Mapping[str, Any]) -> None:
    """Raise ValueError where `status.json` holds what it cannot."""
    _checked(content, _STATUS)


def _checked(content: object, kinds: Mapping[str, tuple[str, Check]]) -> dict[str, Any]:
    """Return a mapping whose known keys hold what they should, or raise ValueError."""
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    for key, (kind, fits) in kinds.items():
        value = content.get(key)
        if (value is not None or (key in content and key in _NEVER_NULL)) and not fits(value):
            raise ValueError(f"{key} is no {kind}")
    return content


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_truth(value: object) -> bool:
    return isinstance(value, bool)


def _is_count(value: object) -> bool:
    return is_number(value) and float(value) >= 0  # type: ignore[arg-type]  # a number, as was just found


def _is_measured(value: object) -> bool:
    """Whether it is a number, or what a diverged run gives in its place."""
    return is_number(value) or (isinstance(value, float) and not math.isfinite(value))


def _is_interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_scores(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_measured, value.values()))


def _are_classes(value: object) -> bool:
    """Whether it is class → name of a score → number, or None where there is no such score."""
    if not isinstance(value, dict) or not all(isinstance(row, dict) for row in value.values()):
        return False
    return all(cell is None or _is_measured(cell) for row in value.values() for cell in row.values())


_NUMBER, _COUNT, _TEXT = ("number", is_number), ("number of things", _is_count), ("text", _is_text)
_TRUTH, _INTERVAL, _MAPPING = ("truth value", _is_truth), ("two numbers", _is_interval), ("mapping", _is_mapping)
_METRICS: dict[str, tuple[str, Check]] = {
    **dict.fromkeys(("accuracy", "f1_macro", "balanced_accuracy", "ece"), _NUMBER),
    **dict.fromkeys(("epoch", "parameters", "count", "duplicates_in_train", "duplicates_in_validation"), _COUNT),
    **dict.fromkeys(("left_out_in_train", "left_out_in_validation"), _COUNT),
    "accuracy_without_duplicates": _NUMBER,
    "accuracy_without_duplicates_interval": _INTERVAL,
    **dict.fromkeys(("split", "views", "monitor", "model", "checkpoint", "data", "selected_on"), _TEXT),
    **dict.fromkeys(("partial", "interrupted", "same_data"), _TRUTH),
    "monitored": ("number", _is_measured),
    "accuracy_interval": _INTERVAL,
    "per_class": ("table of scores", _are_classes),
}
_NEVER_NULL = ("overrides", "values", "attempts")
_ENVIRONMENT: dict[str, tuple[str, Check]] = {"command": _TEXT, "data": _MAPPING}
_DATA: dict[str, tuple[str, Check]] = {"fingerprint": _TEXT, "splits": _TEXT, "test": _COUNT}
_HEAT_MAPS: dict[str, tuple[str, Check]] = {
    **dict.fromkeys(("method", "split", "data", "checkpoint"), _TEXT),
    "epoch": _COUNT,
    "areas": ("scores", _are_scores),
    "classes": ("table of scores", _are_classes),
}
_STATUS: dict[str, tuple[str, Check]] = {
    **dict.fromkeys(("status", "reason", "message", "identity", "fingerprint", "started", "expected", "ended"), _TEXT),
    "version": _TEXT,
    "overrides": ("list of texts", _is_texts),
    "values": ("scores", _are_scores),
    "attempts": _COUNT,
    "seconds": _COUNT,
}
