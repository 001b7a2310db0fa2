"""Settings that a run has found by itself: recorded beside those that were typed, and used when it is continued."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fer_lightning.config.overrides import override_key
from fer_lightning.core.atomic_write import write_text
from fer_lightning.runs.files import ENVIRONMENT, SETTINGS
from fer_lightning.runs.schema import is_number, read_object

IN_PROPORTION = ("model.backbone_lr", "optimizer.adamw_lr")  # other learning rates, to `optimizer.lr`
KEYS = ("optimizer.lr", *IN_PROPORTION, "data.batch_size")  # all that a file may say was found
SEARCHES = ("tune.lr", "tune.batch_size")


def found_in(environment: Mapping[str, Any]) -> dict[str, float]:
    """Return what the content of `environment.json` says was found, by setting."""
    found = environment.get("found")
    known = found if isinstance(found, dict) else {}
    return {key: known[key] for key in KEYS if is_number(known.get(key)) and known[key] > 0}


def read_found(checkpoint: Path) -> dict[str, float]:
    """Return what the run of a checkpoint has found; nothing where that is not recorded."""
    for folder in checkpoint.absolute().parents:
        if (folder / ENVIRONMENT).is_file():
            try:
                return found_in(read_object(folder / ENVIRONMENT))
            except (OSError, ValueError):
                return {}
    return {}


def as_typed(overrides: Iterable[str], found: Mapping[str, float]) -> list[str]:
    """Return overrides with what was found in place of the search.

    >>> as_typed(["seed=1", "tune.lr=true", "optimizer.lr=1"], {"optimizer.lr": 0.003})
    ['seed=1', 'optimizer.lr=0.003']
    """
    kept = [item for item in overrides if override_key(item) not in (*SEARCHES, *found)]
    return [*kept, *(f"{key}={value:g}" for key, value in found.items())]


def change_settings(folder: Path, found: Mapping[str, float]) -> None:
    """Change the settings that Hydra has recorded in a run folder, if any, to what was found."""
    path = folder / SETTINGS
    if found and path.is_file():
        settings = OmegaConf.load(path)
        for key, value in found.items():
            OmegaConf.update(settings, key, value)
        write_text(path, OmegaConf.to_yaml(settings))
