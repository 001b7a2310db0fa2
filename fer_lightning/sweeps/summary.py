"""What a sweep prints: a line as each job ends, and finally a table of all jobs and the next commands."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fer_lightning.config.overrides import quoted
from fer_lightning.core.errors import first_lines
from fer_lightning.runs.status import FAILED, Status
from fer_lightning.sweeps.job_folders import Job


def describe_result(job: Job) -> str:
    """Return one line on the result of a job."""
    title, status = f"#{job.number} {job.label}".rstrip(), job.status
    if status is None:
        return f"{title}: not started"
    values = ", ".join(f"{name} {value:.4g}" for name, value in status.values.items())
    took = "" if status.seconds is None else f", {status.seconds:.0f} s"
    scores = f", {values}" if values and status.over else ""
    return f"{title}: {_outcome(job.state, status)}{scores}{took}"


def print_summary(folder: Path, jobs: Sequence[Job], verb: str = "train") -> None:
    """Print a table of the jobs, by number, and the commands to type next."""
    from rich.console import Console  # not at each start of a sweep
    from rich.table import Table

    from fer_lightning.runs.console import escape

    console = Console()
    states = {job: job.state for job in jobs}
    statuses = {job: job.status for job in jobs}
    known = [status for status in statuses.values() if status is not None]
    names = [*dict.fromkeys(name for status in known for name in status.values)]
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("#", "job", "outcome", *names, "seconds"):
        table.add_column(heading, justify="left" if heading in ("job", "outcome") else "right", overflow="fold")
    for job in sorted(jobs, key=lambda job: job.number):
        status = statuses[job] or Status()
        scores = (f"{status.values[name]:.4g}" if name in status.values else "–" for name in names)
        seconds = "–" if status.seconds is None else f"{status.seconds:.0f}"
        table.add_row(f"{job.number}", escape(job.label), _outcome(states[job], status, 120), *scores, seconds)
    console.print()
    console.print(table)
    counts = Counter(states.values())
    listed = ", ".join(f"{count} {state}" for state, count in counts.items())
    console.print(f"\n{len(jobs)} job{'s' * (len(jobs) != 1)}: {listed}")
    console.print(
        f"\npython -m fer_lightning.compare {escape(shlex.quote(str(folder)))}", highlight=False, soft_wrap=True
    )
    open_states = {"unfinished", "interrupted", "not started"} & set(counts)
    # a wrong setting would fail again
    if open_states or any(status.status == FAILED and status.reason != "configuration" for status in known):
        retry, what = ("", "go on") if open_states else (" sweep.retry=true", "try the failed ones again")
        plain = re.fullmatch(r"[\w./:@+-]+", str(folder))
        named = shlex.quote(f"sweep.resume={folder if plain else quoted(folder)}")
        command = f"python -m fer_lightning.{verb} -m {named}{retry}"
        console.print(escape(f"{command}   # {what}"), highlight=False, soft_wrap=True)


def _outcome(state: str, status: Status, width: int = 200) -> str:
    """Return the state of a job, and why it failed, if it did."""
    if state != FAILED:
        return state
    return f"{state} ({status.reason}): {first_lines(Exception(status.message), width)}"
