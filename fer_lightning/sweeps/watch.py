"""While a launcher is at work: a word as each job ends, and Ctrl-C for the jobs before it is for the sweep."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fer_lightning.runs.status import RUNNING
from fer_lightning.sweeps.job_folders import Job
from fer_lightning.sweeps.process import PID, POSIX

STOPPING = ".stopping"  # in the folder of a sweep while it waits for its jobs to stop: no other begins
INTERVAL = 0.5  # seconds
_LEAVE_AT_ONCE = 3  # times that Ctrl-C is pressed


@contextmanager
def telling(jobs: Sequence[Job], tell: Callable[[Job], None]) -> Iterator[None]:
    """Call `tell` for each job when it has ended, from a thread; for those that have not, in the end.

    Whatever the thread that works within this starts does not hear of Ctrl-C, which the terminal sends to everything:
    a worker would leave its job alone, or a controller give it a second. The thread of this context hears it instead.
    """
    before, left, over = {job: job.status for job in jobs}, [*jobs], threading.Event()

    def look(end: bool = False) -> None:
        for job in [*left]:
            status = job.status
            if end or (status is not None and status != before[job] and status.status != RUNNING):
                left.remove(job)
                tell(job)

    def watch() -> None:
        while not over.wait(INTERVAL):
            look()

    thread = threading.Thread(target=watch, name="telling", daemon=True)
    thread.start()
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if POSIX else set()
    try:
        yield
    finally:
        if POSIX:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        over.set()
        thread.join()
        look(end=True)


@contextmanager
def stopping_jobs_first(folder: Path, jobs: Sequence[Job], said: str | None) -> Iterator[None]:
    """Pass Ctrl-C on to the jobs that run on this machine, which end as single runs do, and then end the sweep.

    The first lets them finish a batch, the second leaves at once, the third kills.

    Args:
        folder: of the sweep.
        jobs: that may run.
        said: to the user meanwhile; None where the jobs say it themselves.

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
                os.killpg(session, signal.SIGINT if pressed < _LEAVE_AT_ONCE else signal.SIGKILL)
        if not running:
            raise KeyboardInterrupt
        if said is not None and pressed == 1:
            print(f"\n{said}", file=sys.stderr, flush=True)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        with suppress(OSError):
            (folder / STOPPING).unlink(missing_ok=True)
    if pressed:
        raise KeyboardInterrupt


def _running(jobs: Sequence[Job]) -> list[int]:
    """Return the sessions of jobs that descend from this process: a number in a file may be that of another by now."""
    import psutil

    ours = {process.pid for process in psutil.Process().children(recursive=True)}
    found = []
    for job in jobs:
        with suppress(OSError, ValueError):
            found.append(int((job.folder / PID).read_text(encoding="ascii")))
    return [session for session in found if session in ours]
