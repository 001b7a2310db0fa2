"""Where `conf/` is, and what Hydra must be told to compose it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra

from fer_lightning.core.errors import ConfigError


def conf_dir() -> Path:
    """Return the folder of the YAML files: inside the package when installed, beside it in a checkout.

    Raises:
        ConfigError: it is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    places = (package / "conf", package.parent / "conf")
    for place in places:
        if (place / "train.yaml").is_file():
            return place
    raise ConfigError(f"no conf/train.yaml in {places[0]} nor in {places[1]}: install fer_lightning again")


def hydra_options(start: Callable[..., Any]) -> dict[str, Any]:
    """Return what one of Hydra's starters must be told, beside the place of the configs, for the Hydra that is here.

    Hydra 1.3 warns unless it is told which version's habits to follow; 1.4 has only its own, warns where it is told and
    announces that 1.5 will not know the argument. From 1.4 on, `hydra.main` asks which targets may be called.

    Args:
        start: `hydra.main` or `hydra.initialize_config_dir`.
    """
    if "execution_whitelist" not in inspect.signature(hydra.main).parameters:
        return {"version_base": "1.3"}
    if "execution_whitelist" not in inspect.signature(start).parameters:
        return {}
    from hydra.utils import UNSAFE_DISABLE_EXECUTION_CHECKS  # the settings are the user's own, as is the machine

    return {"execution_whitelist": UNSAFE_DISABLE_EXECUTION_CHECKS}
