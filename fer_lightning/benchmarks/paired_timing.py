"""The parent's side: two contenders, each in a process of its own, run windows in turn: A B, B A, A B …"""

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
from typing import Any

from fer_lightning.core import errors

_NUMBERS = itertools.count(1)  # many contenders are called "ours"
PATIENCE = 600.0  # seconds that a contender may be silent: a first run decodes the data set


class ContenderError(Exception):
    """A contender broke, with what it said."""


@dataclass(frozen=True)
class Contender:
    """What one side does.

    Attributes:
        name: for messages.
        work: dotted path of a function that is given a `Tick` and the arguments.
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
        asides: how often the clock stood still …
        aside: … and for how many seconds.
        memory: largest resident set until then, MB.
        device_memory: largest allocation on the GPU until then, MB.
    """

    rate: float
    asides: int
    aside: float
    memory: float
    device_memory: float | None


def duel(
    ours: Contender, yardstick: Contender, *, window: float, windows: int, logs: Path
) -> tuple[list[Window], list[Window]]:
    """Measure two contenders.

    Args:
        ours: the first.
        yardstick: the second.
        window: seconds of each.
        windows: of each contender.
        logs: folder for what they print, kept of those that fail.

    Returns:
        their windows; those at one place in both lists were measured one after the other.

    Raises:
        ContenderError: one of them failed.
    """
    measured: dict[str, list[Window]] = {"ours": [], "yardstick": []}
    with ExitStack() as stack:
        warm_up = min(window, 5.0)
        sides = {
            side: stack.enter_context(_Child(contender, logs, warm_up))
            for side, contender in (("ours", ours), ("yardstick", yardstick))
        }
        for child in sides.values():
            child.begin()
            child.hear("window")  # warmed up, and asleep before the other one starts
        for pair in range(windows):
            for side in list(sides) if pair % 2 == 0 else reversed(sides):
                sides[side].say(seconds=window)
                measured[side].append(_read_window(sides[side].hear("window")))
    return measured["ours"], measured["yardstick"]


def ask(contender: Contender, logs: Path) -> Any:
    """Run something once in a process of its own and return its answer.

    Raises:
        UserError: as it was raised there.
        ContenderError: it failed otherwise.
    """
    with _Child(contender, logs, warm_up=None) as child:
        child.begin()
        return child.hear("done")


def _read_window(message: dict[str, Any]) -> Window:
    figures = {name: message[name] for name in ("asides", "aside", "memory", "device_memory")}
    return Window(rate=message["count"] / message["seconds"], **figures)


class _Child:
    """A contender's process; leaving the context ends it."""

    def __init__(self, contender: Contender, logs: Path, warm_up: float | None) -> None:
        self._contender, self._warm_up = contender, warm_up
        logs.mkdir(parents=True, exist_ok=True)
        self._log = logs / f"{next(_NUMBERS):02d}_{contender.name.replace(' ', '_')}.log"
        with self._log.open("w") as log:
            command = [sys.executable, "-m", "fer_lightning.benchmarks.worker"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
            # a session of its own: Ctrl-C is for the parent alone, which then ends the child with its loader processes
            self._process = subprocess.Popen(command, text=True, encoding="utf-8", start_new_session=True, **pipes)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.say(work=contender.work, arguments=dict(contender.arguments), warm_up=warm_up)

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with suppress(OSError):  # a child that is dead never read the last message, which closing sends again
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(timeout=10 if kind is None else 0.5)
        except subprocess.TimeoutExpired:
            self._kill()
        if kind is None or not issubclass(kind, Exception):  # Ctrl-C is nobody's failure
            self._log.unlink(missing_ok=True)

    def _kill(self) -> None:
        """End the process and those that it started."""
        if hasattr(os, "killpg"):
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait()

    def begin(self) -> None:
        """Start the work, once all is imported."""
        self.hear("loaded")
        self.say(begin=True)

    def say(self, **message: Any) -> None:
        """Send a message."""
        try:
            print(json.dumps(message), file=self._process.stdin, flush=True)
        except OSError:  # it is dead
            self.hear("")

    def hear(self, key: str) -> Any:
        """Wait for the next message, which must be of this kind."""
        try:
            text = self._lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise ContenderError(f"{self._contender.name}: said nothing for {PATIENCE:.0f} s") from None
        message = json.loads(text) if text else {"died": self._process.wait()}
        if key in message:
            return message[key]
        if message.get("kind") is not None and self._warm_up is None:
            raise getattr(errors, message["kind"])(message["error"])
        raise ContenderError(f"{self._contender.name}: {self._explain(message)}")

    def _explain(self, message: dict[str, Any]) -> str:
        if "error" in message:
            return message["error"]
        if "done" in message:
            return "ended before the windows did"
        printed = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return f"died with exit code {message.get('died')}" + (f" ({printed[-1][:200]})" if printed else "")

    def _listen(self) -> None:
        for text in self._process.stdout:  # type: ignore[union-attr]
            self._lines.put(text)
        self._lines.put("")  # it has ended
