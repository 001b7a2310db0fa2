"""Applies a function to the next items in threads, while their results are used in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, size: Callable[[Item], int], most: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in order; what the function raises is raised in its turn.

    Args:
        function: is called in several threads, of which one may be at its next item before another ends.
        items: are taken in this thread, at most twice as many ahead as there are threads.
        threads: 1 for none but this one, and nothing ahead.
        size: of an item, in bytes.
        most: bytes of the items ahead; one that is larger is worked on alone.
    """
    if threads == 1:
        yield from ((item, function(item)) for item in items)
        return
    ahead: deque[tuple[Item, Future[Result]]] = deque()
    held = 0
    pool = ThreadPoolExecutor(threads, "map_ahead")
    try:
        for item in items:
            ahead.append((item, pool.submit(function, item)))
            held += size(item)
            del item  # which else lives until the next one is there
            while len(ahead) > 2 * threads or held > most:
                first, result = ahead.popleft()
                held -= size(first)
                yield first, result.result()
        for first, result in ahead:
            yield first, result.result()
    finally:
        pool.shutdown(cancel_futures=True)
