"""Runs a job in a process of its own, so that its ranks, ports, memory and crashes do not affect the next job.

The process is forked, which saves the imports, or a new interpreter where forking is not safe. Its standard input is a
pipe from the process that started it: the job ends when that pipe closes. It leads its own session together with its
ranks and loader processes: the sweep forwards Ctrl-C to it, and can kill what a crashed run leaves behind.
"""

from __future__ import annotations

import atexit
import importlib
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from hydra.core.global_hydra import GlobalHydra

from fer_lightning.core.atomic_write import write_text
from fer_lightning.system.resources import JOB_VARIABLE, is_slurm_task

SWEEP_VARIABLE = "FER_LIGHTNING_SWEEP"  # environment variable: process id of the sweep
PID = "job.pid"  # in the folder of a running job: id of its process and of its session
POSIX = hasattr(os, "killpg")
Start = Callable[[Sequence[str]], object]


def may_fork() -> bool:
    """Whether forking is safe: not once CUDA is initialised, and not on macOS."""
    torch = sys.modules.get("torch")
    return sys.platform == "linux" and (torch is None or not torch.cuda.is_initialized())


def end_with_parent() -> None:
    """Kill this process and its session as soon as the process that started it is gone."""
    _restore_signals()
    if not stat.S_ISFIFO(os.fstat(0).st_mode):  # a process that a job started
        return

    def wait() -> None:
        with suppress(OSError):
            while os.read(0, 1):
                pass
        if POSIX:
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()


def end_with_sweep() -> None:
    """In a launcher's worker: ignore Ctrl-C, which the sweep forwards to jobs, and exit when the sweep is gone."""
    sweep, parent = os.environ.get(SWEEP_VARIABLE), os.getppid()
    if sweep is None or sweep == str(os.getpid()):  # the sweep itself runs its jobs
        return
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sweep != str(parent) or any(thread.name == "end-with-sweep" for thread in threading.enumerate()):
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-sweep", daemon=True).start()


def run_forked(verb: str, start: Start, arguments: Sequence[str], log: Path | None, pid: Path | None = None) -> int:
    """Run `start(arguments)` in a fork of this process, and return its exit code, or minus the signal that ended it.

    The module of the verb becomes `__main__`, with which Lightning starts the other ranks. Output goes to `log`, or to
    the terminal; `pid` is a file that holds the process id while it runs.
    """
    read_end, write_end = os.pipe()
    options = (verb, start, arguments, log, (read_end, write_end))
    child = multiprocessing.get_context("fork").Process(target=_run, args=options, daemon=False)
    child.start()
    os.close(read_end)

    try:
        with _supervising(child.pid or 0, pid):
            _wait_for_exit(child.pid or 0, child.join)
    finally:
        os.close(write_end)
    return child.exitcode or 0


def _run(verb: str, start: Start, arguments: Sequence[str], log: Path | None, pipe: tuple[int, int]) -> None:
    """Run the verb in the fork, after clearing the state that it inherited from its parent."""
    atexit._clear()  # these functions are the parent's
    os.setsid()
    os.close(pipe[1])
    os.dup2(pipe[0], 0)
    os.close(pipe[0])
    if log is not None:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    _restore_signals()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update(_variables())
    GlobalHydra.instance().clear()
    sys.modules["__main__"] = importlib.import_module(f"fer_lightning.{verb}")
    try:
        start(arguments)
    finally:
        atexit._run_exitfuncs()  # which forks skip; loggers flush there


def run_spawned(
    verb: str,
    arguments: Sequence[str],
    log: Path | None,
    pid: Path | None = None,
    folder: Path | None = None,
    done: Callable[[], bool] | None = None,
) -> int:
    """Run a verb in a new interpreter, in `folder` where that exists; otherwise like `run_forked`.

    `done` is polled, and the process killed when it returns true.
    """
    with ExitStack() as files:
        out = None if log is None else files.enter_context(log.open("ab"))
        child = subprocess.Popen(
            [sys.executable, "-m", f"fer_lightning.{verb}", *arguments],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env={**os.environ, **_variables()},
            cwd=folder if folder is not None and folder.is_dir() else None,
            start_new_session=True,
        )
        files.enter_context(child)
        files.enter_context(_supervising(child.pid, pid))
        while done is not None and child.poll() is None:
            if done():
                child.kill()
            time.sleep(0.2)
        if done is None:
            _wait_for_exit(child.pid, child.wait)
        return child.wait()


def _variables() -> dict[str, str]:
    """Return the environment variables of a job."""
    if "SLURM_JOB_ID" in os.environ and not is_slurm_task():
        # for Lightning: it starts the ranks, if there are to be several
        return {JOB_VARIABLE: "1", "SLURM_JOB_NAME": "interactive"}
    return {JOB_VARIABLE: "1"}


def _wait_for_exit(child: int, wait: Callable[[], object]) -> None:
    """Wait for a run, and kill what is left of its session (ranks, loaders) where it did not exit with 0.

    KeyboardInterrupt is raised only after the run has ended: it gets Ctrl-C too, and may have to finish something.
    """
    try:
        if hasattr(os, "waitid"):
            # WNOWAIT keeps the process id taken until its session is killed
            end = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
            if end is not None and (end.si_code, end.si_status) != (os.CLD_EXITED, 0):
                with suppress(OSError):
                    os.killpg(child, signal.SIGKILL)
        wait()
    except KeyboardInterrupt:
        _wait_for_exit(child, wait)
        raise


@contextmanager
def _supervising(child: int, pid: Path | None) -> Iterator[None]:
    """Keep the id of a run in a file; forward SIGTERM to it, with which SLURM ends jobs and submitit does not end."""
    before = signal.getsignal(signal.SIGTERM)

    def forward(number: int, frame: FrameType | None) -> None:
        with suppress(OSError):
            os.killpg(child, signal.SIGTERM)
        if callable(before):
            before(number, frame)

    forwards = callable(before) and threading.current_thread() is threading.main_thread()
    if pid is not None:
        write_text(pid, f"{child}\n")
    if forwards:
        signal.signal(signal.SIGTERM, forward)
    try:
        yield
    finally:
        if forwards:
            signal.signal(signal.SIGTERM, before)
        if pid is not None:
            pid.unlink(missing_ok=True)


def _restore_signals() -> None:
    """Handle Ctrl-C as programs started by hand do: launchers block it in what they start."""
    if POSIX and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
