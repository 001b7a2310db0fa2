"""A single run in a process of its own, so that nothing of it reaches the next: ranks, ports, memory, or its death.

The process is forked from one that has the imports, which takes milliseconds, or is a new interpreter where forking is
not safe. Either way its standard input is a pipe from the process that started it; when that dies, the pipe ends and
so does the run, for nobody would know of it. And it leads a session of its own, with its ranks and loaders: Ctrl-C does
not reach it from the terminal but from its sweep, once, and what a broken run leaves behind can be ended.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from hydra.core.global_hydra import GlobalHydra

from fer_lightning.system.resources import VARIABLE

SWEEP = "FER_LIGHTNING_SWEEP"  # number of the process of the sweep, in the processes that it starts
PID = "job.pid"  # in the folder of a job while it runs: number of its process and of its session
POSIX = hasattr(os, "killpg")
Start = Callable[[Sequence[str]], object]


def may_fork() -> bool:
    """Whether a forked process would work: not with CUDA at work, and not where system libraries forbid it (macOS)."""
    torch = sys.modules.get("torch")
    return sys.platform == "linux" and (torch is None or not torch.cuda.is_initialized())


def end_with_parent() -> None:
    """End this process and its session, whatever they do, as soon as the one that started it is gone."""
    _hear_signals()
    if not stat.S_ISFIFO(os.fstat(0).st_mode):  # started by a job, but not to be one
        return

    def wait() -> None:
        with suppress(OSError):
            while os.read(0, 1):
                pass
        if POSIX:
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()


def serve_sweep() -> None:
    """In a worker process of a launcher: leave Ctrl-C to the sweep, and end as soon as that is gone.

    The terminal sends Ctrl-C to workers, too, where it would be lost on a job that the sweep has told already. And a
    worker notices that its sweep is gone only when it has a result to give away; until then it would go on.
    """
    sweep, parent = os.environ.get(SWEEP), os.getppid()
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


def run_forked(
    verb: str, start: Start, arguments: Sequence[str], log: Path | None, *, pid: Path | None = None, **variables: str
) -> int:
    """Run `start(arguments)` in a fork of this process.

    Args:
        verb: of the run; its module becomes the main one, because Lightning starts other ranks with that.
        start: the verb itself.
        arguments: its command line.
        log: file that gets what it prints; None for the terminal.
        pid: file that holds the number of the process while it runs; None for none.
        variables: of its environment, beside those of this process.

    Returns:
        its exit code; minus a signal's number where one ended it.
    """
    ends, keeps = os.pipe()
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=_run, args=(verb, start, arguments, log, (ends, keeps), variables), daemon=False)
    child.start()
    os.close(ends)
    try:
        with _noted(child.pid or 0, pid), _passing_on_sigterm(child.pid or 0):
            return _outlast(child.pid or 0, lambda: child.join() or child.exitcode or 0)
    finally:
        os.close(keeps)


def _run(
    verb: str,
    start: Start,
    arguments: Sequence[str],
    log: Path | None,
    pipe: tuple[int, int],
    variables: Mapping[str, str],
) -> None:
    """Be the run: what the fork inherited from the sweep is put aside first."""
    atexit._clear()  # what the parent registered is the parent's to do
    os.setsid()
    os.close(pipe[1])
    os.dup2(pipe[0], 0)
    os.close(pipe[0])
    if log is not None:
        _redirect(log)
    _hear_signals()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update({VARIABLE: "1", **variables})
    GlobalHydra.instance().clear()
    sys.modules["__main__"] = importlib.import_module(f"fer_lightning.{verb}")
    try:
        start(arguments)
    finally:
        atexit._run_exitfuncs()  # which the end of a fork leaves out: loggers that still send have registered there


def run_anew(
    verb: str,
    arguments: Sequence[str],
    log: Path | None,
    *,
    pid: Path | None = None,
    folder: Path | None = None,
    done: Callable[[], bool] | None = None,
    **variables: str,
) -> int:
    """Run a verb in a new interpreter; see `run_forked`.

    Args:
        verb: of the run.
        arguments: its command line.
        log: file that gets what it prints; None for the terminal.
        pid: file that holds the number of the process while it runs; None for none.
        folder: working directory, if there is such a one; None for that of this process.
        done: whether the run is over for others and has to end here too; None where it is alone.
        variables: of its environment, beside those of this process.
    """
    with ExitStack() as files:
        out = None if log is None else files.enter_context(log.open("ab"))
        command = [sys.executable, "-m", f"fer_lightning.{verb}", *arguments]
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env={**os.environ, VARIABLE: "1", **variables},
            cwd=folder if folder is not None and folder.is_dir() else None,
            start_new_session=True,
        )
        files.enter_context(child)
        files.enter_context(_noted(child.pid, pid))
        files.enter_context(_passing_on_sigterm(child.pid))
        while done is not None and child.poll() is None:
            if done():
                child.kill()
            time.sleep(0.2)
        return _outlast(child.pid, child.wait) if done is None else child.wait()


def _outlast(child: int, wait: Callable[[], int]) -> int:
    """Wait for a run, and end what it left behind where it did not end well: its ranks and loaders.

    A Ctrl-C is waited through: the run has heard of it too, and may have something to finish.
    """
    interrupted: KeyboardInterrupt | None = None
    while True:
        try:
            if hasattr(os, "waitid"):
                # not taken off the list of processes yet, or its number could be another's already
                end = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
                if end is not None and (end.si_code, end.si_status) != (os.CLD_EXITED, 0):
                    _signal(child, signal.SIGKILL)
            code = wait()
            break
        except KeyboardInterrupt as stop:
            interrupted = stop
    if interrupted is not None:
        raise interrupted
    return code


@contextmanager
def _passing_on_sigterm(child: int) -> Iterator[None]:
    """Let SIGTERM reach a run from a process that does not end of it: so SLURM ends jobs, and submitit outlasts it."""
    before = signal.getsignal(signal.SIGTERM)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def pass_on(number: int, frame: FrameType | None) -> None:
        _signal(child, signal.SIGTERM)
        before(number, frame)

    signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _signal(session: int, number: int) -> None:
    with suppress(OSError):
        os.killpg(session, number)


@contextmanager
def _noted(number: int, pid: Path | None) -> Iterator[None]:
    if pid is None:
        yield
        return
    pid.write_text(f"{number}\n", encoding="ascii")
    try:
        yield
    finally:
        pid.unlink(missing_ok=True)


def _hear_signals() -> None:
    """Let Ctrl-C mean what it means in a program that was started by hand: launchers block it in what they start."""
    if POSIX and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


def _redirect(log: Path) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
