"""Rank runs and say what their scores hang on: `python -m fer_lightning.compare outputs/multirun/DATE/TIME`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fer_lightning.cli.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compare(cfg: DictConfig) -> None:
    """Compare the runs of a composed configuration.

    Raises:
        UserError: a folder holds no run, or no run has a score.
    """
    from fer_lightning.config.check import check_config

    check_config(cfg)

    from fer_lightning.comparison.report import compare_runs

    compare_runs(cfg)


def main(argv: list[str] | None = None) -> Any:
    return run_verb("compare", compare, argv, positional="runs")


if __name__ == "__main__":
    main()
