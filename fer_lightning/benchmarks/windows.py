"""The clock of a contender: it counts what is done in a window, and blocks until the next window."""

from __future__ import annotations

import math
import multiprocessing
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

WARM_UP_STEPS = 5


class Finished(Exception):
    """There are no more windows; raised out of whatever loop the contender is in."""


class StepClock:
    """Called after each step with how much it did; ends a window after its time and then blocks until the next one.

    The first tenth of a window is not counted, unless one step is longer: until then, the caches hold the other
    contender's data, and loader processes have fetched ahead. Waits for a GPU only where a clock starts or stops.

    `next_window` takes the figures of the window that has ended (None before the first), waits, and returns the seconds
    of the next one. Before the first, `warm_up` seconds pass, and `WARM_UP_STEPS` steps.
    """

    def __init__(self, next_window: Callable[[dict[str, Any] | None], float], warm_up: float) -> None:
        self._next_window, self._warm_up = next_window, warm_up
        self._created, self._steps = time.perf_counter(), 0
        self._window: float | None = None  # seconds; None while warming up
        self._leading_in = False
        self._paused_at: float | None = None
        self._start, self._last = 0.0, 0.0  # of the window, and the end of the last step since then
        self._steps_took: list[float] = []  # seconds

    def __call__(self, count: float) -> None:
        """Count a finished step of `count` images, or whatever the row counts; raises `Finished` after all windows."""
        now = time.perf_counter()
        self._steps += 1
        if self._window is None:
            if self._steps >= WARM_UP_STEPS and now - self._created >= self._warm_up:
                self._start_window(None)
            return
        self._count += count
        elapsed = now - self._start - self._paused
        self._steps_took.append(elapsed - self._last)
        self._last = elapsed
        if self._leading_in:
            if elapsed < 0.1 * self._window:
                return
            self._leading_in = False
            if self._steps > 1:
                self._start_clock()
                return
        if elapsed >= self._window:
            _wait_for_device()
            seconds = time.perf_counter() - self._start - self._paused
            figures = {"count": self._count, "seconds": seconds, "pauses": self._pauses, "paused": self._paused}
            self._start_window({**figures, "steps": percentiles(self._steps_took), **memory()})

    def pause(self) -> None:
        """Stop the clock for work that the other side does not do; the figures say how often and how long."""
        if self._paused_at is None:
            _wait_for_device()
            self._paused_at = time.perf_counter()

    def resume(self) -> None:
        """Let the clock go on; without effect where it was not stopped."""
        if self._paused_at is not None and self._window is not None:
            self._paused += time.perf_counter() - self._paused_at
            self._pauses += 1
        self._paused_at = None

    def _start_window(self, figures: dict[str, Any] | None) -> None:
        _wait_for_device()
        self._window = self._next_window(figures)
        self._steps, self._leading_in = 0, True
        self._start_clock()

    def _start_clock(self) -> None:
        _wait_for_device()
        self._count, self._paused, self._pauses = 0.0, 0.0, 0
        self._steps_took, self._last = [], 0.0
        self._start = time.perf_counter()


class TimedLoader:
    """A loader whose clock stops while its processes end and new ones start."""

    def __init__(self, clock: StepClock, loader: Any) -> None:
        self._clock, self._loader = clock, loader

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._loader)  # starts the processes
        self._clock.resume()
        for number, batch in enumerate(batches, start=1):
            yield batch
            if number == len(self._loader):
                self._clock.pause()  # asking for one more batch ends them


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the median of one or more values, and the least value that 99 % of them do not exceed.

    >>> percentiles(range(1, 201))
    (100.5, 198)
    """
    return statistics.median(values), sorted(values)[math.ceil(0.99 * len(values)) - 1]


def memory() -> dict[str, Any]:
    """Return the peak of this process, in MB of 10⁶ bytes: `memory`, and `device_memory` on a GPU (else None).

    The private memory of loader processes is added; the rest they share with this one.
    """
    cuda = _cuda_in_use()
    device = None if cuda is None else cuda.max_memory_allocated() / 1e6
    private = sum(_private_bytes(worker.pid) for worker in multiprocessing.active_children())
    return {"memory": (_peak_bytes() + private) / 1e6, "device_memory": device}


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    kilobytes = re.search(r"VmHWM:\s*(\d+)", status.read_text()) if status.exists() else None
    if kilobytes is not None:
        return 1024 * int(kilobytes[1])
    import resource  # on Linux, this would include the process that started this one

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _private_bytes(process: int | None) -> int:
    try:
        return int(psutil.Process(process).memory_full_info().uss)
    except psutil.Error:  # it has just ended, or is not ours
        return 0


def _wait_for_device() -> None:
    cuda = _cuda_in_use()
    if cuda is not None:
        cuda.synchronize()


def _cuda_in_use() -> Any:
    """Return `torch.cuda` where this process uses a GPU; without importing torch, which some contenders do not need."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized() else None
