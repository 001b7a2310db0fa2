"""The contender's side of a window: count what is done, stop the clock, sleep until the next turn."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

WARM_UP_STEPS = 5
LEAD_IN = 0.1  # share of a window that is not counted


class Finished(Exception):
    """The parent has all it wants; raised out of whatever loop the contender is in."""


class Tick:
    """Called after each step with how much it did; ends a window after its time and then blocks until the next one.

    The first tenth of a window is not counted, unless one step is longer: the caches were the other contender's until
    now, and loader processes have had time to fetch ahead. A GPU is waited for where a clock starts or stops only.

    Args:
        take_turn: hands the figures of the window that has ended (None before the first) to the parent, waits, and
            returns how many seconds the next window lasts.
        warm_up: seconds before the first window; at least `WARM_UP_STEPS` steps belong to it in any case.
    """

    def __init__(self, take_turn: Callable[[dict[str, Any] | None], float], warm_up: float) -> None:
        self._take_turn, self._warm_up = take_turn, warm_up
        self._born, self._steps = time.perf_counter(), 0
        self._window: float | None = None  # seconds; None while warming up
        self._paused_at: float | None = None

    def __call__(self, count: float) -> None:
        """Say that a step is done.

        Args:
            count: of images, or whatever the row counts.

        Raises:
            Finished: there are no more windows.
        """
        now = time.perf_counter()
        self._steps += 1
        if self._window is None:
            if self._steps >= WARM_UP_STEPS and now - self._born >= self._warm_up:
                self._next(None)
            return
        self._count += count
        elapsed = now - self._start - self._aside
        if self._leading_in and elapsed < LEAD_IN * self._window:
            return
        if self._leading_in:
            self._leading_in = False
            if self._steps > 1:
                self._start_clock()
                return
        if elapsed >= self._window:
            _wait_for_device()
            seconds = time.perf_counter() - self._start - self._aside
            figures = {"count": self._count, "seconds": seconds, "asides": self._asides, "aside": self._aside}
            self._next({**figures, **memory()})

    def pause(self) -> None:
        """Stop the clock for work that the yardstick does not do; the figures say how often and how long."""
        if self._paused_at is None:
            _wait_for_device()
            self._paused_at = time.perf_counter()

    def resume(self) -> None:
        """Let the clock go on; without effect where it was not stopped."""
        if self._paused_at is not None and self._window is not None:
            self._aside += time.perf_counter() - self._paused_at
            self._asides += 1
        self._paused_at = None

    def _next(self, figures: dict[str, Any] | None) -> None:
        _wait_for_device()
        self._window = self._take_turn(figures)
        self._steps, self._leading_in = 0, True
        self._start_clock()

    def _start_clock(self) -> None:
        _wait_for_device()
        self._count, self._aside, self._asides = 0.0, 0.0, 0
        self._start = time.perf_counter()


class Epochs:
    """A loader, iterated epoch after epoch, that stops the clock while its processes end and new ones start.

    Args:
        tick: whose clock it is.
        loader: of batches.
    """

    def __init__(self, tick: Tick, loader: Collection[Any]) -> None:
        self._tick, self._loader = tick, loader

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._loader)  # starts the processes
        self._tick.resume()
        for number, batch in enumerate(batches, start=1):
            yield batch
            if number == len(self._loader):
                self._tick.pause()  # asking for one more batch ends them


def memory() -> dict[str, float | None]:
    """Return what this process has needed at the most, in MB of 10⁶ bytes: `memory`, and `device_memory` on a GPU.

    Loader processes share most of their memory with this one: what they have for themselves is added.
    """
    private = sum(_private_bytes(worker.pid) for worker in multiprocessing.active_children())
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    device = torch.cuda.max_memory_allocated() / 1e6 if on_gpu else None
    return {"memory": (_peak_bytes() + private) / 1e6, "device_memory": device}


def _peak_bytes() -> int:
    kilobytes = _proc_field("self/status", "VmHWM")
    if kilobytes is not None:
        return 1024 * kilobytes
    import resource  # where there is no /proc; Linux's own answer here would include the process that started this one

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _private_bytes(process: int | None) -> int:
    fields = (_proc_field(f"{process}/smaps_rollup", name) for name in ("Private_Clean", "Private_Dirty"))
    return 1024 * sum(field for field in fields if field is not None)


def _proc_field(file: str, name: str) -> int | None:
    try:
        lines = Path("/proc", file).read_text().splitlines()
    except OSError:  # another system, or a process that has just ended
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)


def _wait_for_device() -> None:
    torch = sys.modules.get("torch")  # a contender that has not imported it has nothing to wait for
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
