"""Makes our sweepers, and our settings of its launchers, known to Hydra."""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

from fer_lightning.config.compose import conf_dir

PREFIX = "hydra_plugins.fer_lightning."  # where Hydra 1.3 insists that plugins live; a name here, not a package


def register() -> None:
    """Let `hydra.sweeper._target_: hydra_plugins.fer_lightning.<name>` of a configuration mean our sweepers.

    And let `conf/hydra/launcher` stand for itself: Hydra 1.3 merges a file with settings that a plugin has stored under
    the same name, and warns of it in every process.
    """
    known = Plugins.instance().class_name_to_class
    # only now: as it finds plugins, Hydra 1.3 makes the class anew that this one builds on
    from fer_lightning.sweeps.grid_sweeper import GridSweeper

    known[f"{PREFIX}GridSweeper"] = GridSweeper
    known[f"{PREFIX}OptunaSweeper"] = optuna_sweeper
    stored = ConfigStore.instance().repo.get("hydra", {}).get("launcher", {})
    for path in (conf_dir() / "hydra" / "launcher").glob("*.yaml"):
        stored.pop(path.name, None)


def optuna_sweeper(**settings: Any) -> Sweeper:
    """Return the sweeper of Optuna studies, which other sweeps do not import."""
    from fer_lightning.sweeps.optuna_sweeper import OptunaSweeper

    return OptunaSweeper(**settings)
