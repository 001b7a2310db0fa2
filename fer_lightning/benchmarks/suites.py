"""Runs the benchmark: prepare, measure suite by suite, print, write."""

from __future__ import annotations

import logging
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fer_lightning.benchmarks.bench import Bench
from fer_lightning.benchmarks.faces import faces
from fer_lightning.benchmarks.inference import inference
from fer_lightning.benchmarks.memory import memory
from fer_lightning.benchmarks.pipeline import pipeline
from fer_lightning.benchmarks.rows import Row
from fer_lightning.benchmarks.startup import startup
from fer_lightning.benchmarks.sweeping import sweep
from fer_lightning.benchmarks.table import print_rows, write_rows
from fer_lightning.benchmarks.training import train
from fer_lightning.core.errors import UserError
from fer_lightning.core.file_names import shown
from fer_lightning.runs.environment import describe_environment

SUITES = {suite.__name__: suite for suite in (startup, pipeline, train, inference, memory, sweep, faces)}
log = logging.getLogger(__name__)


def benchmark(cfg: DictConfig) -> None:
    """Run the suites with the overrides and folders of configs that Hydra was started with; see `run_suites`."""
    hydra = HydraConfig.get()
    own = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    run_suites(cfg, hydra.overrides.task, [word for place in own for word in ("--config-dir", place)])


def run_suites(cfg: DictConfig, overrides: Sequence[str] = (), flags: Sequence[str] = ()) -> list[Row]:
    """Measure what the checked `cfg.suite` names, and write `benchmark.json` and `benchmark.md` to `cfg.output_dir`.

    Of Hydra's command, `overrides` are what `cfg` was composed with, and `flags` are such as `--config-dir FOLDER`.

    Raises:
        UserError: settings or data cannot be used; or, after everything is written, some row failed.
    """
    folder = Path(cfg.output_dir)
    rows: list[Row] = []
    with ExitStack() as stack:
        # end contenders and remove temporary files after SIGTERM, too
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
            stack.callback(signal.signal, signal.SIGTERM, before)
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="fer_benchmark_"))
        bench = Bench(cfg, tuple(overrides), tuple(flags), Path(place), facts={}).prepared()
        for line in (*bench.facts["notes"], bench.facts["machine"]["summary"]):
            log.info(line)
        try:
            for suite in dict.fromkeys(cfg.suite):
                rows.extend(SUITES[suite](bench))  # one by one, as they are measured
        finally:  # also after Ctrl-C
            if rows:
                _report(rows, bench, folder)
    if failed := [f"{row.suite}: {row.what}" for row in rows if row.failed is not None]:
        raise UserError(f"{len(failed)} of {len(rows)} rows failed ({'; '.join(failed)}): see {folder / 'logs'}")
    return rows


def _report(rows: list[Row], bench: Bench, folder: Path) -> None:
    """Write and print the rows, and copy the logs, which are kept of failed contenders only."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(bench.logs.glob("*.log")):
        shutil.copytree(bench.logs, folder / "logs", dirs_exist_ok=True)
    machine, options = bench.facts["machine"], {"window": bench.cfg.window, "windows": bench.cfg.windows}
    environment = describe_environment(machine=machine, data=bench.facts["fingerprint"])
    write_rows(rows, folder, machine["summary"], environment=environment, **options)
    print_rows(rows)
    print(shown(f"\nwritten to {folder}: benchmark.json, benchmark.md"))
