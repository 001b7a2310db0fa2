"""Reads in a thread, so that the next frame is decoded while the faces of this one are found."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from typing import TypeVar

Item = TypeVar("Item")
POLL = 0.2  # seconds between two looks at `stop`
PATIENCE = 2.0  # seconds for the reader to end; one that is stuck in a dead connection ends with the process


def read_ahead(
    items: Iterable[Item], size: int, *, newest: bool = False, stop: Callable[[], bool] = bool
) -> Iterator[Item]:
    """Yield items in their order, which a thread takes from an iterable; what is raised there is raised here.

    Args:
        items: what is read; its own `finally` runs in the thread when the reading ends, for whatever reason.
        size: how many items may wait.
        newest: drop the oldest that waits instead of pausing the reader: a camera does not wait.
        stop: ends the iteration when it returns True, even while the reader is stuck; `bool()` never does.
    """
    waiting: deque[Item] = deque()
    changed = threading.Condition()
    ended = left = False
    failure: BaseException | None = None

    def read() -> None:
        nonlocal ended, failure
        try:
            with ExitStack() as closing:
                reading = iter(items)
                if isinstance(reading, Generator):
                    closing.callback(reading.close)
                for item in reading:
                    with changed:
                        if newest and len(waiting) >= size:
                            waiting.popleft()
                        while len(waiting) >= size and not left:
                            changed.wait()
                        if left:
                            break
                        waiting.append(item)
                        changed.notify_all()
        except BaseException as error:
            failure = error
        finally:
            with changed:
                ended = True
                changed.notify_all()

    thread = threading.Thread(target=read, name="read_ahead", daemon=True)
    thread.start()
    try:
        while not stop():
            with changed:
                if not waiting and not ended:
                    changed.wait(POLL)
                if not waiting and ended:
                    break
                item = waiting.popleft() if waiting else None
                changed.notify_all()
            if item is not None:
                yield item
        if failure is not None:
            raise failure
    finally:
        with changed:
            left = True
            changed.notify_all()
        thread.join(PATIENCE)
