"""Suite `sweep`: what a sweep adds to its jobs, and what it gains by running two at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fer_lightning.benchmarks.bench import Bench, last_line, run_python
from fer_lightning.benchmarks.paired_timing import ContenderError
from fer_lightning.benchmarks.rows import Goal, Row, in_turn, unmet
from fer_lightning.config.overrides import override_key, quoted
from fer_lightning.runs.environment import installed_version
from fer_lightning.runs.files import STATUS
from fer_lightning.runs.status import FINISHED, read_status
from fer_lightning.system.resources import available_cores

MAX_TURNS = 3
SMALL = ("data.limit=400", "trainer.max_epochs=2", "trainer.enable_progress_bar=false")
PARALLEL = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
log = logging.getLogger(__name__)


class _Timed(NamedTuple):
    """Seconds of one sweep."""

    wall: float  # of the whole command
    per_job: float  # from the end of its first job to the end of its last one, a job
    own: float  # that those jobs recorded, a job


def sweep(bench: Bench, jobs: int = 6) -> Iterator[Row]:
    """Time sweeps of the user's own training command, cut short: two jobs at once and, in turn, one after the other."""
    small = f"the typed training with {' '.join(SMALL[:2])} and seed=1…{jobs}"
    faster = Goal("ratio", "most", 1.0, needs=unmet((available_cores() >= 2, "2 cores")))
    parallel = Row("sweep", f"{jobs} jobs, joblib 2 at once", "one after the other", "s", goal=faster, notes=(small,))
    if installed_version("hydra-joblib-launcher") is None:
        parallel = replace(parallel, skipped='needs joblib: pip install "fer_lightning[joblib]"')
    little = Goal("difference", "most", 1.5)
    started = "from the end of the first job to the end of the last, divided by the jobs between"
    overhead = Row("sweep", "a job after the first", "its own seconds", "s", goal=little, notes=(started,))
    turns = min(bench.cfg.windows, MAX_TURNS)
    log.info(f"sweep: {jobs} jobs, {turns} times each way")

    def run(turn: int, side: int) -> _Timed | None:
        launcher = () if side else PARALLEL
        skipped = launcher and parallel.skipped
        return None if skipped else _time(bench, bench.folder / f"sweep-{turn}-{len(launcher)}", jobs, launcher)

    try:
        both, single = ([one for one in side if one is not None] for side in in_turn(turns, run))
    except ContenderError as error:
        yield from (row if row.skipped else replace(row, failed=str(error)) for row in (parallel, overhead))
        return
    yield parallel if parallel.skipped else parallel.filled([one.wall for one in both], [one.wall for one in single])
    yield overhead.filled([one.per_job for one in single], [one.own for one in single])


def _time(bench: Bench, folder: Path, jobs: int, launcher: tuple[str, ...]) -> _Timed:
    """Run one sweep; raise a ContenderError unless all of its jobs finish."""
    typed = bench.training_overrides("seed", *(override_key(item) for item in SMALL))
    seeds = f"seed={','.join(str(seed) for seed in range(1, jobs + 1))}"
    own = [*typed, *SMALL, *launcher, seeds, f"hydra.sweep.dir={quoted(folder)}"]
    done, wall = run_python("-m", "fer_lightning.train", "-m", *bench.flags, *own)
    ends, seconds = [], []
    for job in sorted(folder.glob(f"*/{STATUS}"), key=lambda path: int(path.parent.name.partition("_")[0])):
        status = read_status(job.parent)
        if status is not None and status.status == FINISHED and status.seconds is not None:
            ends.append(job.stat().st_mtime)
            seconds.append(status.seconds)
    if len(ends) < jobs:
        raise ContenderError(f"{len(ends)} of {jobs} jobs finished; the sweep said: {last_line(done)}")
    return _Timed(wall, (max(ends) - ends[0]) / (jobs - 1), sum(seconds[1:]) / (jobs - 1))
