"""A job that SLURM starts as several tasks, the ranks of one run: the first decides, the others follow."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fer_lightning.core.atomic_write import write_text
from fer_lightning.runs.lock import is_locked
from fer_lightning.sweeps.process import run_spawned
from fer_lightning.system.resources import is_slurm_task

PLAN = ".tasks.json"
GRACE = 60.0  # seconds that a rank may take to end after the first has


def task() -> int | None:
    """Return the number of this task of a SLURM step; None where the step has one task only."""
    return int(os.environ["SLURM_PROCID"]) if is_slurm_task() else None


def announce_run(folder: Path, arguments: Sequence[str] | None) -> None:
    """As the first task, tell the others what to run: a command line, or None where the job is done."""
    if task() == 0:
        plan = {"attempt": _attempt(), "arguments": arguments and [*arguments]}
        write_text(folder / PLAN, json.dumps(plan) + "\n")


def follow_first_task(verb: str, folder: Path, log: Path) -> None:
    """As another task, run what the first one announced; killed when the first one is gone."""
    plan: dict[str, Any] = {}
    while plan.get("attempt") != _attempt():
        time.sleep(0.2)
        with suppress(OSError, ValueError):
            plan = dict(json.loads((folder / PLAN).read_text(encoding="utf-8")))
    if plan["arguments"] is None:
        return
    seen = time.monotonic()

    def is_alone() -> bool:
        """Whether the first task, which holds the job's lock, ended more than `GRACE` seconds ago."""
        nonlocal seen
        if is_locked(folder):
            seen = time.monotonic()
        return time.monotonic() - seen > GRACE

    run_spawned(verb, plan["arguments"], log, done=is_alone)


def _attempt() -> str:
    """Identify this start of the tasks: a requeued job starts again."""
    return "-".join(os.environ.get(f"SLURM_{name}", "0") for name in ("JOB_ID", "STEP_ID", "RESTART_COUNT"))
