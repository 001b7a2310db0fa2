"""Suite `sweep`: what a sweep adds to its jobs, and what it gains by running two at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fer_lightning.benchmarks.bench import Bench, last_line, run_python
from fer_lightning.benchmarks.rows import Goal, Row, alternating, unmet
from fer_lightning.config.overrides import override_key, quoted
from fer_lightning.runs.environment import installed_version
from fer_lightning.runs.files import STATUS
from fer_lightning.runs.status import FINISHED, read_status
from fer_lightning.system.resources import available_cores

JOBS, MAX_TURNS = 6, 3
SMALL = ("data.limit=400", "trainer.max_epochs=2", "trainer.enable_progress_bar=false")
PARALLEL = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
log = logging.getLogger(__name__)


class _SweepError(Exception):
    """A sweep that was to be timed has not finished its jobs."""


@dataclass(frozen=True)
class _Timed:
    """One sweep.

    Attributes:
        wall: seconds of the whole command.
        per_job: seconds from the end of its first job to the end of its last one, a job.
        own: seconds that those jobs recorded, a job.
    """

    wall: float
    per_job: float
    own: float


def sweep(bench: Bench, jobs: int = JOBS) -> Iterator[Row]:
    """Time sweeps of the user's own training command, cut short: two jobs at once and, in turn, one after the other."""
    parallel, overhead = _rows(jobs)
    if installed_version("hydra-joblib-launcher") is None:
        parallel = replace(parallel, skipped='needs joblib: pip install "fer_lightning[joblib]"')
    turns = min(bench.cfg.windows, MAX_TURNS)
    log.info(f"sweep: {jobs} jobs, {turns} times each way")
    both, single = timed = list[_Timed](), list[_Timed]()
    try:
        for turn, side in alternating(turns):
            if side == 1 or not parallel.skipped:
                folder = bench.folder / f"sweep-{turn}-{0 if side else len(PARALLEL)}"
                timed[side].append(_time(bench, folder, jobs, () if side else PARALLEL))
    except _SweepError as error:
        yield from (row if row.skipped else replace(row, failed=str(error)) for row in (parallel, overhead))
        return
    walls = ([one.wall for one in side] for side in (both, single))
    yield parallel if parallel.skipped else parallel.filled(*walls)
    yield overhead.filled([one.per_job for one in single], [one.own for one in single])


def _rows(jobs: int) -> tuple[Row, Row]:
    """Return both rows without figures."""
    small = f"the typed training with {' '.join(SMALL[:2])} and seed=1…{jobs}"
    faster = Goal("ratio", "most", 1.0, needs=unmet((available_cores() >= 2, "2 cores")))
    little = Goal("difference", "most", 1.5)
    started = "from the end of the first job to the end of the last, divided by the jobs between"
    return (
        Row("sweep", f"{jobs} jobs, joblib 2 at once", "one after the other", "s", goal=faster, notes=(small,)),
        Row("sweep", "a job after the first", "its own seconds", "s", goal=little, notes=(started,)),
    )


def _time(bench: Bench, folder: Path, jobs: int, launcher: tuple[str, ...]) -> _Timed:
    """Run one sweep.

    Raises:
        _SweepError: not all of its jobs finished.
    """
    typed = bench.training_overrides("seed", *(override_key(item) for item in SMALL))
    seeds = f"seed={','.join(str(seed) for seed in range(1, jobs + 1))}"
    own = [*typed, *SMALL, *launcher, seeds, f"hydra.sweep.dir={quoted(folder)}"]
    begin = time.perf_counter()
    done = run_python("-m", "fer_lightning.train", "-m", *bench.flags, *own)
    wall = time.perf_counter() - begin
    ends, seconds = [], []
    for job in sorted(folder.glob(f"*/{STATUS}"), key=lambda path: int(path.parent.name.partition("_")[0])):
        status = read_status(job.parent)
        if status is not None and status.status == FINISHED and status.seconds is not None:
            ends.append(job.stat().st_mtime)
            seconds.append(status.seconds)
    if len(ends) < jobs:
        raise _SweepError(f"{len(ends)} of {jobs} jobs finished; the sweep said: {last_line(done)}")
    return _Timed(wall, (max(ends) - ends[0]) / (jobs - 1), sum(seconds[1:]) / (jobs - 1))
