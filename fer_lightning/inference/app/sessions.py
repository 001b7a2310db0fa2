"""The picture that each visitor looks at, kept for another threshold or for heat maps, and then forgotten.

Gradio would keep it for an hour after the visitor has left.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from fer_lightning.inference.video.smoothing import Smoother

SECONDS = 600.0  # that a picture is kept
MOST = 64  # pictures
MOST_BYTES = 2**28  # of all of them


class Shown(NamedTuple):
    """The content of a file and its name; for a frame of the camera, what smooths it and those before."""

    data: bytes
    source: str
    smoother: Smoother | None = None


class Sessions:
    """One picture a session; `MOST` sessions and `MOST_BYTES` at most. To be used in one event loop."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._kept: dict[str, tuple[Shown, asyncio.TimerHandle]] = {}

    def get(self, session: str) -> Shown | None:
        """Return the picture of a session, if there is one."""
        return self._kept[session][0] if session in self._kept else None

    def keep(self, session: str, shown: Shown) -> None:
        """Replace the picture of a session; where there are too many, the oldest go."""
        self.forget(session)
        while self._kept and (len(self._kept) >= MOST or self._size() + len(shown.data) > MOST_BYTES):
            self.forget(next(iter(self._kept)))
        self._kept[session] = shown, asyncio.get_running_loop().call_later(self._seconds, self.forget, session)

    def forget(self, session: str) -> None:
        """Remove the picture of a session, if there is one."""
        if session in self._kept:
            self._kept.pop(session)[1].cancel()

    def _size(self) -> int:
        return sum(len(shown.data) for shown, _ in self._kept.values())
