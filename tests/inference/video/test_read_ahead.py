"""Order, errors and ends of what is read in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from fer_lightning.inference.video.read_ahead import read_ahead


def test_items_come_in_order_and_no_more_are_read_than_may_wait() -> None:
    read = []

    def items() -> Iterator[int]:
        for k in range(50):
            read.append(k)
            yield k

    ahead = read_ahead(items(), 3)
    assert next(ahead) == 0
    time.sleep(0.1)
    assert len(read) == 5  # one was taken, three wait, and one waits for its place
    assert list(ahead) == list(range(1, 50))


def test_an_error_is_raised_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("lost")

    ahead = read_ahead(items(), 5)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(OSError, match="lost"):
        next(ahead)


def test_leaving_early_closes_what_is_read_in_its_own_thread() -> None:
    closed_in = []

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed_in.append(threading.current_thread().name)

    for _ in read_ahead(items(), 2):
        break
    deadline = time.monotonic() + 5
    while not closed_in and time.monotonic() < deadline:
        time.sleep(0.01)
    assert closed_in == ["read_ahead"]


def test_of_a_camera_the_newest_is_taken() -> None:
    def items() -> Iterator[int]:
        for k in range(30):
            time.sleep(0.01)
            yield k

    seen = []
    for item in read_ahead(items(), 1, newest=True):
        seen.append(item)
        time.sleep(0.1)
    assert seen == sorted(seen)
    assert seen[-1] == 29
    assert len(seen) < 15


def test_a_reader_that_is_stuck_does_not_stop_the_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_lightning.inference.video.read_ahead.PATIENCE", 0.2)
    stuck, started = threading.Event(), time.monotonic()

    def items() -> Iterator[int]:
        yield 1
        stuck.wait(20)

    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    assert list(read_ahead(items(), 2, stop=stop.is_set)) == [1]
    assert time.monotonic() - started < 10
    stuck.set()
