"""Score a checkpoint again: `python -m fer_lightning.evaluate ckpt_path=…/best.ckpt data.root=PATH split=test`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fer_lightning.cli.command import run_verb
from fer_lightning.core.fast_imports import fast_imports

if TYPE_CHECKING:
    from omegaconf import DictConfig


def evaluate(cfg: DictConfig) -> float:
    """Judge a checkpoint on one split and write the verdict.

    Returns:
        the accuracy.

    Raises:
        UserError: checkpoint or data cannot be used.
    """
    from fer_lightning.config.check import check_config

    with fast_imports():
        from fer_lightning.training.evaluate_checkpoint import complete, evaluate_checkpoint

    cfg = complete(cfg)
    check_config(cfg)
    return evaluate_checkpoint(cfg)


def main(argv: list[str] | None = None) -> Any:
    return run_verb("evaluate", evaluate, argv)


if __name__ == "__main__":
    main()
