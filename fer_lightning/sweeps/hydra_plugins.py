"""Registers our sweepers, and our settings of its launchers, with Hydra."""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

from fer_lightning.config.compose import conf_dir

PREFIX = "hydra_plugins.fer_lightning."  # where Hydra 1.3 insists that plugins live; a name here, not a package


def register() -> None:
    """Resolve `hydra.sweeper._target_: hydra_plugins.fer_lightning.<name>` to our sweepers.

    Also remove the stored settings of launchers for which `conf/hydra/launcher` has a file: Hydra 1.3 would merge both,
    and warn of it in every process.
    """
    known: dict[str, Any] = Plugins.instance().class_name_to_class
    # imported late: Hydra 1.3 redefines the base class while it searches for plugins
    from fer_lightning.sweeps.grid_sweeper import GridSweeper

    known[f"{PREFIX}GridSweeper"] = GridSweeper
    known[f"{PREFIX}OptunaSweeper"] = optuna_sweeper
    stored = ConfigStore.instance().repo.get("hydra", {}).get("launcher", {})
    for path in (conf_dir() / "hydra" / "launcher").glob("*.yaml"):
        stored.pop(path.name, None)


def optuna_sweeper(**settings: Any) -> Sweeper:
    """Return the sweeper of Optuna studies, which is imported only here."""
    from fer_lightning.sweeps.optuna_sweeper import OptunaSweeper

    return OptunaSweeper(**settings)
