"""Recognise the expressions in photographs and folders: `python -m fer_lightning.predict photo.jpg ckpt_path=…`."""

from __future__ import annotations

from typing import Any

from fer_lightning.cli.command import run_verb


def main(argv: list[str] | None = None) -> Any:
    return run_verb("predict", "inference.predict:predict", argv, positional="source")


if __name__ == "__main__":
    main()
