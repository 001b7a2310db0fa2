"""Measure us against what you would write: `python -m fer_lightning.benchmark data.root=PATH suite=[train]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fer_lightning.cli.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig


def benchmark(cfg: DictConfig) -> None:
    """Run the suites of a composed configuration.

    Raises:
        UserError: settings or data cannot be used, or a row failed.
    """
    from hydra.core.hydra_config import HydraConfig

    from fer_lightning.benchmarks.suites import run_suites
    from fer_lightning.config.check import check_config

    check_config(cfg)
    hydra = HydraConfig.get()
    own = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    run_suites(cfg, hydra.overrides.task, [word for place in own for word in ("--config-dir", place)])


def main(argv: list[str] | None = None) -> Any:
    return run_verb("benchmark", benchmark, argv)


if __name__ == "__main__":
    main()
