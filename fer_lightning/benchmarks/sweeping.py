"""Suite `sweep`: what a sweep adds to its jobs, and what it gains by running two at once."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fer_lightning.benchmarks.bench import OWN_KEYS, Bench
from fer_lightning.benchmarks.rows import Goal, Row, Spread, paired, unmet
from fer_lightning.config.overrides import override_key, quoted
from fer_lightning.runs.environment import installed_version
from fer_lightning.runs.files import STATUS
from fer_lightning.runs.status import FINISHED, read_status
from fer_lightning.system.resources import available_cores

JOBS, MOST_TURNS = 6, 3
SMALL = ("data.limit=400", "trainer.max_epochs=2", "trainer.enable_progress_bar=false")
TOGETHER = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
log = logging.getLogger(__name__)


class _SweepError(Exception):
    """A sweep that was to be timed has not finished its jobs."""


@dataclass(frozen=True)
class _Timed:
    """One sweep.

    Attributes:
        wall: seconds of the whole command.
        later: seconds from the end of its first job to the end of its last one, a job.
        own: seconds that those jobs say they took, a job.
    """

    wall: float
    later: float
    own: float


def sweep(bench: Bench, jobs: int = JOBS) -> Iterator[Row]:
    """Time sweeps of the user's own training command, cut short: one after the other and, in turn, two at once.

    Args:
        bench: prepared.
        jobs: of each sweep.
    """
    together, overhead = _rows(jobs)
    if installed_version("hydra-joblib-launcher") is None:
        together = replace(together, skipped='needs joblib: pip install "fer_lightning[joblib]"')
    sides = [()] if together.skipped else [TOGETHER, ()]
    timed: dict[tuple[str, ...], list[_Timed]] = {side: [] for side in sides}
    log.info(f"sweep: {jobs} jobs, {min(bench.cfg.windows, MOST_TURNS)} times each way")
    try:
        for turn in range(min(bench.cfg.windows, MOST_TURNS)):
            for side in sides if turn % 2 == 0 else reversed(sides):
                folder = bench.folder / f"sweep-{turn}-{len(side)}"
                timed[side].append(_time(bench, folder, jobs, side))
    except _SweepError as error:
        yield from (row if row.skipped else replace(row, failed=str(error)) for row in (together, overhead))
        return
    apart = timed[()]
    yield (
        together
        if together.skipped
        else _filled(together, [one.wall for one in timed[TOGETHER]], [one.wall for one in apart])
    )
    yield _filled(overhead, [one.later for one in apart], [one.own for one in apart])


def _rows(jobs: int) -> tuple[Row, Row]:
    """Return what is said of both rows without a measurement."""
    small = f"the typed training with {' '.join(SMALL[:2])} and seed=1…{jobs}"
    goal = Goal("ratio", "most", 1.0, needs=unmet((available_cores() >= 2, "2 cores")))
    started = "from the end of the first job to the end of the last, divided by the jobs between"
    return (
        Row("sweep", f"{jobs} jobs, joblib 2 at once", "one after the other", "s", goal=goal, notes=(small,)),
        Row(
            "sweep",
            "a job after the first",
            "its own seconds",
            "s",
            goal=Goal("difference", "most", 1.5),
            notes=(started,),
        ),
    )


def _time(bench: Bench, folder: Path, jobs: int, launcher: tuple[str, ...]) -> _Timed:
    """Run one sweep.

    Raises:
        _SweepError: not all of its jobs finished.
    """
    fixed = {override_key(item) for item in SMALL} | {*OWN_KEYS, "seed"}
    typed = [item for item in bench.overrides if override_key(item) not in fixed]
    size = f"data.batch_size={bench.cfg.data.batch_size}"  # which this verb has another default for
    seeds = f"seed={','.join(str(seed) for seed in range(1, jobs + 1))}"
    place = f"hydra.sweep.dir={quoted(folder)}"
    command = [sys.executable, "-m", "fer_lightning.train", "-m", *bench.flags]
    command += [*typed, size, *SMALL, *launcher, seeds, place]
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - begin
    ends, own = [], []
    for job in sorted(folder.glob(f"*/{STATUS}"), key=lambda path: int(path.parent.name.partition("_")[0])):
        status = read_status(job.parent)
        if status is not None and status.status == FINISHED and status.seconds is not None:
            ends.append(job.stat().st_mtime)
            own.append(status.seconds)
    if len(ends) < jobs:
        said = (done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["nothing"])[-1]
        raise _SweepError(f"{len(ends)} of {jobs} jobs finished; the sweep said: {said}")
    return _Timed(wall, (max(ends) - ends[0]) / (jobs - 1), sum(own[1:]) / (jobs - 1))


def _filled(row: Row, ours: list[float], yardstick: list[float]) -> Row:
    return replace(row, ours=Spread.of(ours), yardstick=Spread.of(yardstick), ratio=paired(ours, yardstick))
