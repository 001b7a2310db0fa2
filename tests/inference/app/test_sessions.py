"""What is kept of visitors, and for how long."""

from __future__ import annotations

import asyncio

from fer_lightning.inference.app.sessions import MOST, MOST_BYTES, Sessions, Shown


def test_a_picture_is_forgotten_after_a_while_and_replaced_by_the_next() -> None:
    async def visit() -> None:
        sessions = Sessions(seconds=0.8)
        sessions.keep("a", Shown(b"1", "one"))
        await asyncio.sleep(0.5)
        sessions.keep("a", Shown(b"2", "two"))
        await asyncio.sleep(0.5)  # the time of the first is over
        assert sessions.get("a") == Shown(b"2", "two")
        await asyncio.sleep(0.5)
        assert sessions.get("a") is None

    asyncio.run(visit())


def test_who_leaves_is_forgotten_and_so_is_the_oldest_of_too_many() -> None:
    async def visit() -> None:
        sessions = Sessions()
        for number in range(MOST + 1):
            sessions.keep(str(number), Shown(b"", str(number)))
        assert sessions.get("0") is None
        assert sessions.get("1") == Shown(b"", "1")
        sessions.forget("1")
        sessions.forget("nobody")
        assert sessions.get("1") is None

    asyncio.run(visit())


def test_large_pictures_of_many_visitors_do_not_fill_the_memory() -> None:
    async def visit() -> None:
        sessions, large = Sessions(), Shown(bytes(MOST_BYTES // 2), "large")
        for name in "abc":
            sessions.keep(name, large)
        assert [sessions.get(name) for name in "abc"] == [None, large, large]
        sessions.keep("b", large)  # its own is replaced
        assert [sessions.get(name) for name in "abc"] == [None, large, large]

    asyncio.run(visit())
