"""Where `conf/` is, and the options that Hydra needs to compose it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import hydra.utils

from fer_lightning.core.errors import ConfigError

# what Hydra 1.4 may call itself, beside its plugins and handlers of logs; the user's own are added once they are known
HYDRA_TARGETS = ("hydra.experimental.callbacks.*", "fer_lightning.cli.run_folder.*", "fer_lightning.sweeps.*")


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
    """Return the arguments that `hydra.main` or `hydra.initialize_config_dir` takes in the installed version of Hydra.

    Hydra 1.3 warns without `version_base`; 1.4 warns with it, and `hydra.main` asks which targets may be called.
    """
    if not has_whitelist():
        return {"version_base": "1.3"}
    return {"execution_whitelist": HYDRA_TARGETS} if start is hydra.main else {}


def has_whitelist() -> bool:
    """Return whether this version of Hydra takes a list of what it may call."""
    return "execution_whitelist" in vars(hydra.utils)
