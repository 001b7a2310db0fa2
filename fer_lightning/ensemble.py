"""Average the best runs and judge what they say together: `python -m fer_lightning.ensemble outputs/… top=5`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fer_lightning.cli.command import run_verb
from fer_lightning.core.fast_imports import fast_imports

if TYPE_CHECKING:
    from omegaconf import DictConfig


def ensemble(cfg: DictConfig) -> float:
    """Judge the average of runs on one split and write the verdict.

    Returns:
        the gain in accuracy over the best single run.

    Raises:
        UserError: settings, runs, checkpoints or data cannot be used.
    """
    from omegaconf import OmegaConf

    from fer_lightning.config.check import check_config

    with fast_imports():
        # what is null in its data is filled in and checked with each member's
        check_config(OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "data"]))

        from fer_lightning.comparison.ensembling import ensemble_runs

    return ensemble_runs(cfg).value


def main(argv: list[str] | None = None) -> Any:
    return run_verb("ensemble", ensemble, argv, positional="runs")


if __name__ == "__main__":
    main()
