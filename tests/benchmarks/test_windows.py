"""A contender's clock: what is counted, what is not, and when it stops."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fer_lightning.benchmarks.windows import WARM_UP_STEPS, Finished, StepClock, TimedLoader, memory


class Parent:
    """Gives so many windows, then no more; keeps what it was told."""

    def __init__(self, windows: int, seconds: float = 0.05) -> None:
        self.left, self.seconds = windows, seconds
        self.told: list[dict[str, Any] | None] = []
        self.steps_before: list[int] = []
        self.steps = 0

    def next_window(self, figures: dict[str, Any] | None) -> float:
        self.told.append(figures)
        self.steps_before.append(self.steps)
        if self.left == 0:
            raise Finished
        self.left -= 1
        return self.seconds

    def run(self, step: Callable[[StepClock], None], warm_up: float = 0.0, count: float = 3) -> StepClock:
        clock = StepClock(self.next_window, warm_up)

        def loop() -> None:
            while True:
                step(clock)
                self.steps += 1
                clock(count)

        with pytest.raises(Finished):
            loop()
        return clock


def nap(clock: StepClock) -> None:
    time.sleep(0.002)


def test_the_first_steps_only_warm_up() -> None:
    parent = Parent(windows=0)
    parent.run(nap)
    assert parent.told == [None]
    assert parent.steps == WARM_UP_STEPS


def test_warming_up_takes_its_time() -> None:
    parent = Parent(windows=0)
    begin = time.perf_counter()
    parent.run(nap, warm_up=0.1)
    assert time.perf_counter() - begin >= 0.1
    assert parent.steps > WARM_UP_STEPS


def test_a_window_counts_its_steps_but_the_first_tenth() -> None:
    parent = Parent(windows=3, seconds=0.5)  # a tenth of it is many naps, on a busy machine too
    parent.run(nap)
    windows = parent.told[1:]
    assert len(windows) == 3
    for place, window in enumerate(windows):
        steps = parent.steps_before[place + 1] - parent.steps_before[place]
        assert window["seconds"] >= 0.5
        assert window["count"] % 3 == 0
        assert 0 < window["count"] / 3 < steps  # the lead-in took some


def test_one_long_step_is_a_window() -> None:
    """A step of whole seconds, such as building a cache, is not thrown away for being first."""
    parent = Parent(windows=2, seconds=0.01)
    parent.run(lambda clock: time.sleep(0.02))
    assert [window["count"] for window in parent.told[1:]] == [3, 3]
    assert all(window["seconds"] >= 0.02 for window in parent.told[1:])


def test_sleeping_between_windows_is_not_counted() -> None:
    class Sleepy(Parent):
        def next_window(self, figures: dict[str, Any] | None) -> float:
            seconds = super().next_window(figures)
            time.sleep(0.2)
            return seconds

    parent, begin = Sleepy(windows=1), time.perf_counter()
    parent.run(nap)
    assert parent.told[1]["seconds"] <= time.perf_counter() - begin - 0.2


def test_a_pause_is_told_apart() -> None:
    parent = Parent(windows=1, seconds=0.05)

    def step(clock: StepClock) -> None:
        nap(clock)
        if parent.told:
            clock.pause()
            clock.pause()
            time.sleep(0.01)
            clock.resume()
            clock.resume()

    begin = time.perf_counter()
    parent.run(step)
    wall, window = time.perf_counter() - begin, parent.told[1]
    assert window["pauses"] >= 1
    assert window["paused"] >= 0.01 * window["pauses"]
    assert 0.05 <= window["seconds"] <= wall - window["paused"]


def test_steps_are_told_by_their_median_and_99th_percentile() -> None:
    parent, turns = Parent(windows=1, seconds=0.2), itertools.count()
    parent.run(lambda clock: time.sleep(0.02 if next(turns) % 3 == 0 else 0.002))
    median, tail = parent.told[1]["steps"]
    assert 0.002 <= median < tail
    assert tail >= 0.02


def test_resuming_what_runs_changes_nothing() -> None:
    parent = Parent(windows=1)
    parent.run(lambda clock: (nap(clock), clock.resume()))
    assert (parent.told[1]["pauses"], parent.told[1]["paused"]) == (0, 0)


def test_the_time_between_two_epochs_is_told_apart() -> None:
    class Slow:
        """Takes its time to start and to end, and not in between."""

        def __len__(self) -> int:
            return 3

        def __iter__(self) -> Iterator[int]:
            time.sleep(0.02)
            yield from range(3)
            time.sleep(0.02)

    parent = Parent(windows=1, seconds=0.05)
    clock = StepClock(parent.next_window, warm_up=0)
    epochs = TimedLoader(clock, Slow())

    def loop() -> None:
        while True:
            for _ in epochs:
                time.sleep(0.002)
                clock(1)

    with pytest.raises(Finished):
        loop()
    window = parent.told[1]
    assert window["pauses"] >= 2
    assert window["paused"] >= 0.02 * window["pauses"]
    assert window["seconds"] >= 0.002 * window["count"]


def sleep_with(size: int, ready: Any) -> None:
    kept = np.ones(size, dtype=np.uint8)
    ready.set()
    time.sleep(60)
    del kept


def test_memory_is_the_peak_and_what_workers_have_for_themselves() -> None:
    before = memory()
    block = np.ones(50_000_000, dtype=np.uint8)
    del block
    after = memory()
    assert before["memory"] > 10
    assert after["memory"] >= before["memory"]
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    worker = context.Process(target=sleep_with, args=(60_000_000, ready), daemon=True)
    worker.start()
    assert ready.wait(60)
    assert memory()["memory"] >= after["memory"] + 60
    worker.terminate()
    worker.join()
