"""Train a model, judge it and write the report: `python -m fer_lightning.train data.root=PATH model=resnet50`."""

from __future__ import annotations

from typing import Any

from fer_lightning.cli.command import run_verb


def main(argv: list[str] | None = None) -> Any:
    return run_verb("train", "training.run:train", argv)


if __name__ == "__main__":
    main()
