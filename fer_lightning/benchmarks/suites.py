"""All of the benchmark: prepare, measure suite by suite, print, write."""

from __future__ import annotations

import logging
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fer_lightning.benchmarks.bench import Bench
from fer_lightning.benchmarks.inference import inference
from fer_lightning.benchmarks.memory import memory
from fer_lightning.benchmarks.pipeline import pipeline
from fer_lightning.benchmarks.rows import Row
from fer_lightning.benchmarks.startup import startup
from fer_lightning.benchmarks.sweeping import sweep
from fer_lightning.benchmarks.table import print_rows, write_rows
from fer_lightning.benchmarks.training import train
from fer_lightning.core.errors import UserError
from fer_lightning.runs.environment import describe_environment

MEASURES = {
    "startup": startup,
    "pipeline": pipeline,
    "train": train,
    "inference": inference,
    "memory": memory,
    "sweep": sweep,
}
log = logging.getLogger(__name__)


def run_suites(cfg: DictConfig, overrides: Sequence[str] = (), flags: Sequence[str] = ()) -> list[Row]:
    """Measure what `cfg.suite` names and write `benchmark.json` and `benchmark.md` to `cfg.output_dir`.

    Args:
        cfg: composed from `conf/benchmark.yaml`, checked.
        overrides: what it was composed with beside the defaults.
        flags: of Hydra, such as `--config-dir FOLDER`.

    Returns:
        the rows.

    Raises:
        UserError: settings or data cannot be used; or, after everything is written, some row failed.
    """
    folder, rows = Path(cfg.output_dir), list[Row]()
    with _unwinding_on_sigterm(), tempfile.TemporaryDirectory(prefix="fer_benchmark_") as place:
        bench = Bench(cfg, tuple(overrides), tuple(flags), Path(place), facts={}).prepared()
        for line in (*bench.facts["remarks"], bench.facts["machine"]["summary"]):
            log.info(line)
        try:
            for suite in dict.fromkeys(cfg.suite):
                for row in MEASURES[suite](bench):
                    rows.append(row)
        finally:  # Ctrl-C, too, leaves what has been measured
            if rows:
                _report(rows, bench, folder)
    failed = [f"{row.suite}: {row.what}" for row in rows if row.failed is not None]
    if failed:
        raise UserError(f"{len(failed)} of {len(rows)} rows failed ({'; '.join(failed)}): see {folder / 'logs'}")
    return rows


def _report(rows: list[Row], bench: Bench, folder: Path) -> None:
    """Write and print the rows, and keep what failed contenders printed; the others' is gone already."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(bench.logs.glob("*.log")):
        shutil.copytree(bench.logs, folder / "logs", dirs_exist_ok=True)
    machine = bench.facts["machine"]
    environment = describe_environment(machine=machine, data=bench.facts["fingerprint"])
    options = {"window": bench.cfg.window, "windows": bench.cfg.windows}
    write_rows(rows, folder, machine["summary"], environment=environment, **options)
    print_rows(rows)
    print(f"\nwritten to {folder}: benchmark.json, benchmark.md")


@contextmanager
def _unwinding_on_sigterm() -> Iterator[None]:
    """Let SIGTERM leave as Ctrl-C does: with the contenders ended and what was written for them gone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def benchmark(cfg: DictConfig) -> None:
    """Run the suites with the overrides and folders of configs that Hydra was started with; see `run_suites`."""
    hydra = HydraConfig.get()
    own = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    run_suites(cfg, hydra.overrides.task, [word for place in own for word in ("--config-dir", place)])
