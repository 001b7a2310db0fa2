"""Measure the speed against plain loops: `python -m fer_lightning.benchmark data.root=PATH suite=[train]`."""

from __future__ import annotations

from typing import Any


def main(argv: list[str] | None = None) -> Any:
    from fer_lightning.cli.command import run_verb  # not above: the processes of contenders import this module, too

    return run_verb("benchmark", "benchmarks.suites:benchmark", argv)


if __name__ == "__main__":
    main()
