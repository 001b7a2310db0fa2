"""Average the predictions of the best runs and score that: `python -m fer_lightning.ensemble outputs/… top=5`."""

from __future__ import annotations

from typing import Any

from fer_lightning.cli.command import run_verb


def main(argv: list[str] | None = None) -> Any:
    return run_verb("ensemble", "comparison.ensembling:ensemble_runs", argv, positional="runs")


if __name__ == "__main__":
    main()
