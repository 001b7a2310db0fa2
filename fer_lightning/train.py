"""Train a model, judge it and write the report: `python -m fer_lightning.train data.root=PATH model=resnet50`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fer_lightning.cli.command import run_verb
from fer_lightning.core.fast_imports import fast_imports

if TYPE_CHECKING:
    from omegaconf import DictConfig


def train(cfg: DictConfig) -> float | None:
    """Run one training from a composed configuration.

    Returns:
        the value that the best checkpoint was chosen by, for a sweep to compare.

    Raises:
        UserError: with a message that says what to type instead.
    """
    from fer_lightning.config.check import check_config

    with fast_imports():  # torch and Lightning, which a mistyped key should not wait for
        check_config(cfg)

        from fer_lightning.training.run import TrainingRun

    run = TrainingRun(cfg)
    run.fit()
    run.score()
    # the report is written; a sweep must not go on, and the shell must know. Rank zero alone says so, because Lightning
    # kills it as soon as another rank ends with an error
    if run.interrupted and run.trainer.is_global_zero:
        raise KeyboardInterrupt
    return run.monitored


def main(argv: list[str] | None = None) -> Any:
    return run_verb("train", train, argv)


if __name__ == "__main__":
    main()
