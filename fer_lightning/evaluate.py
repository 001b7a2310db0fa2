"""Score a checkpoint again: `python -m fer_lightning.evaluate ckpt_path=…/best.ckpt data.root=PATH split=test`."""

from __future__ import annotations

from typing import Any

from fer_lightning.cli.command import run_verb


def main(argv: list[str] | None = None) -> Any:
    return run_verb("evaluate", "training.evaluate_checkpoint:evaluate", argv)


if __name__ == "__main__":
    main()
