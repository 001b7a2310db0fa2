from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from fer_lightning.inference.map_ahead import map_ahead


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order_whatever_each_takes(threads: int) -> None:
    def double(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return 2 * item

    found = list(map_ahead(double, range(40), threads, lambda _: 1, 100))
    assert found == [(item, 2 * item) for item in range(40)]


def test_as_many_run_at_once_as_there_are_threads() -> None:
    together = threading.Barrier(3, timeout=20)  # which lets three pass at once, and none before
    assert len(list(map_ahead(lambda _: together.wait(), range(6), 3, lambda _: 1, 100))) == 6


@pytest.mark.parametrize(("size", "most"), [(1, 5), (40, 3), (101, 1)])
def test_no_more_is_taken_ahead_than_is_allowed(size: int, most: int) -> None:
    taken = used = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(20):
            taken += 1
            assert taken - used <= most
            yield item

    for used, _ in enumerate(map_ahead(abs, items(), 2, lambda _: size, 100), 1):
        assert taken - used < most
    assert used == 20


def test_an_error_is_raised_after_the_results_before_it_and_ends_the_threads() -> None:
    found: list[int] = []
    with pytest.raises(ZeroDivisionError):
        found.extend(result for _, result in map_ahead(lambda item: 1 // (3 - item), range(9), 2, lambda _: 1, 100))
    assert found == [0, 0, 1]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("map_ahead")]
