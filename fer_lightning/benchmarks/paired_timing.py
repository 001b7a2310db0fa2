"""Paired timing: two contenders, each in a process of its own, run windows in turn: A B, B A, A B …"""

from __future__ import annotations

import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from fer_lightning.benchmarks.rows import alternating
from fer_lightning.core import errors

_NUMBERS = itertools.count(1)  # many contenders are called "ours"
TIMEOUT = 600.0  # seconds without a message: a first run decodes the data set


class ContenderError(Exception):
    """A contender failed, with its message."""


@dataclass(frozen=True)
class Contender:
    """What one side does.

    Attributes:
        name: for messages.
        work: dotted path of a function that is given a `StepClock` and the arguments.
        arguments: as JSON can hold them.
    """

    name: str
    work: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """What a contender did in one window.

    Attributes:
        rate: counted things a second.
        pauses: how often the clock was stopped …
        paused: … and for how many seconds.
        memory: largest resident set until then, MB.
        device_memory: largest allocation on the GPU until then, MB.
    """

    rate: float
    pauses: int
    paused: float
    memory: float
    device_memory: float | None


def compare(
    ours: Contender, baseline: Contender, *, window: float, windows: int, logs: Path
) -> tuple[list[Window], list[Window]]:
    """Time two contenders in alternating windows.

    Args:
        ours: the first.
        baseline: the second.
        window: seconds of each.
        windows: of each contender.
        logs: folder for their output, kept of those that fail.

    Returns:
        their windows; those at one place in both lists were measured one after the other.

    Raises:
        ContenderError: one of them failed.
    """
    measured: tuple[list[Window], list[Window]] = ([], [])
    with ExitStack() as stack:
        workers = [stack.enter_context(_Worker(side, logs, min(window, 5.0))) for side in (ours, baseline)]
        for worker in workers:
            worker.start()
            worker.receive("window")  # warmed up, and waiting while the other one does the same
        for _, side in alternating(windows):
            workers[side].send(seconds=window)
            figures = workers[side].receive("window")
            rate = figures.pop("count") / figures.pop("seconds")
            measured[side].append(Window(rate=rate, **figures))
    return measured


def run_once(contender: Contender, logs: Path) -> Any:
    """Call a function once in a process of its own and return its result.

    Raises:
        UserError: as it was raised there.
        ContenderError: it failed otherwise.
    """
    with _Worker(contender, logs, warm_up=None) as worker:
        worker.start()
        return worker.receive("done")


class _Worker:
    """A contender's process; leaving the context ends it."""

    def __init__(self, contender: Contender, logs: Path, warm_up: float | None) -> None:
        self._contender, self._warm_up = contender, warm_up
        logs.mkdir(parents=True, exist_ok=True)
        self._log = logs / f"{next(_NUMBERS):02d}_{contender.name.replace(' ', '_')}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fer_lightning.benchmarks.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the parent, which then ends this process and its loaders
            )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()
        self.send(work=contender.work, arguments=dict(contender.arguments), warm_up=warm_up)

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with suppress(OSError):  # closing sends again what a dead process has not read
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10 if kind is None else 0.5)
        except subprocess.TimeoutExpired:
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)  # with the processes that it started
            else:
                self._process.kill()
            self._process.wait()
        if kind is None or not issubclass(kind, Exception):  # Ctrl-C is no failure
            self._log.unlink(missing_ok=True)

    def start(self) -> None:
        """Start the work, once all is imported."""
        self.receive("loaded")
        self.send(begin=True)

    def send(self, **message: Any) -> None:
        try:
            print(json.dumps(message), file=self._process.stdin, flush=True)
        except OSError:  # it has died: raise the reason
            self.receive("")

    def receive(self, key: str) -> Any:
        """Wait for the next message, which must be of this kind, and return its content."""
        try:
            text = self._lines.get(timeout=TIMEOUT)
        except queue.Empty:
            raise ContenderError(f"{self._contender.name}: no message for {TIMEOUT:.0f} s") from None
        message: dict[str, Any] = json.loads(text) if text else {"died": self._process.wait()}
        if key in message:
            return message[key]
        if message.get("kind") is not None and self._warm_up is None:
            raise getattr(errors, message["kind"])(message["error"])
        raise ContenderError(f"{self._contender.name}: {self._explain(message)}")

    def _explain(self, message: dict[str, Any]) -> str:
        if "error" in message:
            return str(message["error"])
        if "done" in message:
            return "ended before the windows did"
        printed = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return f"died with exit code {message.get('died')}" + (f" ({printed[-1][:200]})" if printed else "")

    def _read(self, stdout: IO[str]) -> None:
        for text in stdout:
            self._lines.put(text)
        self._lines.put("")  # it has ended
