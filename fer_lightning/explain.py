"""Show where a model looks, in pictures or for each class: `python -m fer_lightning.explain photo.jpg ckpt_path=…`."""

from __future__ import annotations

from typing import Any

from fer_lightning.cli.command import run_verb


def main(argv: list[str] | None = None) -> Any:
    return run_verb("explain", "inference.explain.explain:explain", argv, positional="source")


if __name__ == "__main__":
    main()
