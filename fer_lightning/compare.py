"""Rank runs and show what their scores depend on: `python -m fer_lightning.compare outputs/multirun/DATE/TIME`."""

from __future__ import annotations

from typing import Any

from fer_lightning.cli.command import run_verb


def main(argv: list[str] | None = None) -> Any:
    return run_verb("compare", "comparison.report:compare_runs", argv, positional="runs")


if __name__ == "__main__":
    main()
