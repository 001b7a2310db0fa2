"""A job that SLURM starts as several tasks, the ranks of one run: the first decides, the others do as it does."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from fer_lightning.core.atomic_write import atomic_write
from fer_lightning.runs.lock import at_work
from fer_lightning.sweeps.process import run_anew
from fer_lightning.system.resources import is_slurm_task

PLAN = ".tasks.json"
INTERVAL, GRACE = 0.2, 60.0  # seconds; what a rank may take to end after the first has


def task() -> int | None:
    """Return which of several tasks of a SLURM step this is; None where there are not several."""
    return int(os.environ["SLURM_PROCID"]) if is_slurm_task() else None


def tell_tasks(folder: Path, arguments: Sequence[str] | None) -> None:
    """As the first task: let the others know what is run in a job's folder.

    Args:
        folder: of the job.
        arguments: command line of the run; None where there is none, because the job is done.
    """
    if task() == 0:
        with atomic_write(folder / PLAN) as new:
            new.write_text(json.dumps({"attempt": _attempt(), "arguments": arguments and [*arguments]}) + "\n")


def follow_first_task(verb: str, folder: Path, log: Path) -> None:
    """As another task: run what the first one runs, and no longer than that one does."""
    while (plan := _plan(folder)).get("attempt") != _attempt():
        time.sleep(INTERVAL)
    if plan["arguments"] is None:
        return
    gone: float | None = None

    def is_alone() -> bool:
        """Whether the first task has ended long ago; it holds the job's lock until then."""
        nonlocal gone
        if at_work(folder):
            gone = None
        elif gone is None:
            gone = time.monotonic()
        return gone is not None and time.monotonic() - gone > GRACE

    run_anew(verb, plan["arguments"], log, done=is_alone)


def _plan(folder: Path) -> dict[str, object]:
    try:
        return dict(json.loads((folder / PLAN).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _attempt() -> str:
    """Name this start of the tasks, which a requeued job has several of."""
    return "-".join(os.environ.get(f"SLURM_{name}", "0") for name in ("JOB_ID", "STEP_ID", "RESTART_COUNT"))
