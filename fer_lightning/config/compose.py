"""Where `conf/` is, and the options that Hydra needs to compose it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import hydra.utils

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
    """Return the arguments that `start` takes in the installed version of Hydra, beside the place of the configs.

    Hydra 1.3 warns without `version_base`; 1.4 warns with it, and `hydra.main` asks which targets may be called.

    Args:
        start: `hydra.main` or `hydra.initialize_config_dir`.
    """
    if "execution_whitelist" not in inspect.signature(hydra.main).parameters:
        return {"version_base": "1.3"}
    if "execution_whitelist" not in inspect.signature(start).parameters:
        return {}
    # the settings belong to the user, as does the machine; Hydra 1.3 lacks the name
    return {"execution_whitelist": vars(hydra.utils)["UNSAFE_DISABLE_EXECUTION_CHECKS"]}
