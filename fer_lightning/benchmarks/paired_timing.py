"""Paired timing: two contenders, each in a process of its own, run windows in turn: A B, B A, A B …"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import traceback
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fer_lightning.benchmarks.rows import in_turn
from fer_lightning.benchmarks.windows import Finished, StepClock
from fer_lightning.config.signatures import locate
from fer_lightning.core.errors import UserError

_NUMBERS = itertools.count(1)  # many contenders are called "ours"
TIMEOUT = 600.0  # seconds without a message: a first run decodes the data set


class ContenderError(Exception):
    """A contender failed, with its message."""


@dataclass(frozen=True)
class Contender:
    """What one side does: `work` is the dotted path of a function of a `StepClock` and the arguments."""

    name: str
    work: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """What a contender did in one window; memory is the largest until then, in MB, as of `windows.memory`."""

    rate: float  # counted things a second
    pauses: int  # how often the clock was stopped …
    paused: float  # … and for how many seconds
    steps: tuple[float, float]  # seconds of a step: the median, and the 99th percentile
    memory: float
    device_memory: float | None


def compare(
    ours: Contender, baseline: Contender, *, window: float, windows: int, logs: Path
) -> tuple[list[Window], list[Window]]:
    """Time two contenders in `windows` alternating windows each, of `window` seconds, and return these.

    Those at one place in both lists were measured one after the other. Raises a ContenderError if one of the contenders
    fails; the folder `logs` keeps its output.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(_Worker(side, logs, min(window, 5.0))) for side in (ours, baseline)]
        for worker in workers:
            worker.start()
            worker.receive("window")  # warmed up, and waiting while the other one does the same

        def measure(_: int, side: int) -> Window:
            workers[side].send(window)
            figures = workers[side].receive("window")
            return Window(rate=figures.pop("count") / figures.pop("seconds"), **figures)

        return in_turn(windows, measure)


def run_once(contender: Contender, logs: Path) -> Any:
    """Return the result of a work without a clock; raise its UserError, or a ContenderError if it failed otherwise."""
    with _Worker(contender, logs, warm_up=None) as worker:
        worker.start()
        return worker.receive("done")


class _Worker:
    """A contender's process; leaving the context ends it."""

    def __init__(self, contender: Contender, logs: Path, warm_up: float | None) -> None:
        self._name, self._warm_up = contender.name, warm_up
        logs.mkdir(parents=True, exist_ok=True)
        self._log = logs / f"{next(_NUMBERS):02d}_{contender.name.replace(' ', '_')}.log"
        self._log.touch()
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_work, args=(contender, warm_up, other, self._log))
        self._process.start()
        other.close()

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pipe.close()
        self._process.join(10 if kind is None else 0.5)
        if self._process.exitcode is None:  # end it, with the processes that it started
            with suppress(AttributeError, ProcessLookupError):  # on Windows; before it has a group of its own
                os.killpg(self._process.pid, signal.SIGKILL)  # type: ignore[arg-type]  # it has one: it was started
            self._process.kill()
            self._process.join()
        if kind is None or not issubclass(kind, Exception):  # Ctrl-C is no failure
            self._log.unlink(missing_ok=True)

    def start(self) -> None:
        """Start the work, once all is imported."""
        self.receive("loaded")
        self.send(None)

    def send(self, message: Any) -> None:
        with suppress(OSError):  # it has died: `receive` says why
            self._pipe.send(message)

    def receive(self, key: str) -> Any:
        """Wait for the next message, which must be of this kind, and return its content."""
        if not self._pipe.poll(TIMEOUT):
            raise ContenderError(f"{self._name}: no message for {TIMEOUT:.0f} s")
        try:
            kind, content = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            printed = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
            last = f" ({printed[-1][:200]})" if printed else ""
            raise ContenderError(f"{self._name}: died with exit code {self._process.exitcode}{last}") from None
        if kind == key:
            return content
        if isinstance(content, UserError) and self._warm_up is None:
            raise content
        raise ContenderError(f"{self._name}: {content if kind == 'error' else 'ended before the windows did'}")


def _work(contender: Contender, warm_up: float | None, pipe: Connection[Any, Any], log: Path) -> None:
    """Do a contender's work in this process, with all that it prints in a file."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C is for the parent, which then ends this process and its loaders
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)

    def receive() -> Any:
        try:
            return pipe.recv()
        except (EOFError, OSError):  # the parent has closed it
            raise Finished from None

    def next_window(figures: dict[str, Any] | None) -> float:
        pipe.send(("window", figures))
        return float(receive())

    try:
        work = locate(contender.work)
        pipe.send(("loaded", None))
        receive()  # both sides import at once, but only one at a time does anything else
        clock = () if warm_up is None else (StepClock(next_window, warm_up),)
        pipe.send(("done", work(*clock, **contender.arguments)))
    except Finished:
        pass
    except Exception as error:
        traceback.print_exc()
        pipe.send(("error", error if isinstance(error, UserError) else f"{type(error).__name__}: {error}"))
