"""While a launcher runs: a message as each job ends, and Ctrl-C, which goes to the jobs first."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fer_lightning.runs.status import RUNNING
from fer_lightning.sweeps.job_folders import Job
from fer_lightning.sweeps.process import PID, POSIX

STOPPING = ".stopping"  # file in a sweep's folder while its jobs stop; no other job starts then


@contextmanager
def reporting_jobs(jobs: Collection[Job], report: Callable[[Job], None]) -> Iterator[None]:
    """Call `report` from a thread as each job ends; at the end of the context also for jobs that have not.

    Ctrl-C is blocked in the processes that are started inside: the terminal would send it to a launcher's workers, too,
    which would drop their jobs. The thread of this context receives it instead.
    """
    before, left, ended = {job: job.status for job in jobs}, [*jobs], threading.Event()

    def check(end: bool = False) -> None:
        for job in [*left]:
            status = job.status
            if end or (status is not None and status != before[job] and status.status != RUNNING):
                left.remove(job)
                report(job)

    def watch() -> None:
        while not ended.wait(0.5):
            check()

    thread = threading.Thread(target=watch, name="report-jobs", daemon=True)
    thread.start()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if POSIX else set()
    try:
        yield
    finally:
        if POSIX:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        ended.set()
        thread.join()
        check(end=True)


@contextmanager
def forwarding_ctrl_c(folder: Path, jobs: Collection[Job], message: str | None) -> Iterator[None]:
    """Forward Ctrl-C to the jobs that run on this machine, wait until they have ended, and then end the sweep.

    The first Ctrl-C lets a job finish its batch, and prints the message unless the jobs print their own; the second
    ends it at once, the third kills it.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; at once where no job runs here.
    """
    if not POSIX or threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = 0

    def stop(*_: object) -> None:
        nonlocal pressed
        pressed += 1
        with suppress(OSError):
            (folder / STOPPING).touch()
        running = _running(jobs)
        for session in running:
            with suppress(OSError):
                os.killpg(session, signal.SIGINT if pressed < 3 else signal.SIGKILL)
        if not running:
            raise KeyboardInterrupt
        if message is not None and pressed == 1:
            print(f"\n{message}", file=sys.stderr, flush=True)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        with suppress(OSError):
            (folder / STOPPING).unlink(missing_ok=True)
    if pressed:
        raise KeyboardInterrupt


def _running(jobs: Collection[Job]) -> list[int]:
    """Return the sessions of running jobs; only descendants of this process, as a recorded id may be reused."""
    import psutil

    recorded = set()
    for job in jobs:
        with suppress(OSError, ValueError):
            recorded.add(int((job.folder / PID).read_text(encoding="ascii")))
    return [process.pid for process in psutil.Process().children(recursive=True) if process.pid in recorded]
