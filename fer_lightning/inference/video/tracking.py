"""Follows faces from frame to frame, so that each keeps its number and its own average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fer_lightning.inference.face import Box

GAP = 1.0  # seconds that a face may be out of sight, turned away or covered, and still be the same
LEAST_OVERLAP = 0.2  # intersection over union of where a face is and where it was expected
VELOCITY_TIME = 0.2  # seconds over which a velocity is averaged, which evens out the trembling of boxes


@dataclass
class Track:
    """One face over time.

    Attributes:
        number: from 1, in the order in which faces appear; never used twice.
        box: where it was seen last; None where pictures are taken as a whole.
        time: when that was, in seconds.
        velocity: of the centre of its box, pixels a second to the right and down.
    """

    number: int
    box: Box | None
    time: float
    velocity: tuple[float, float] = (0.0, 0.0)

    def expected(self, time: float) -> Box | None:
        """Return where the face is at a later time if it moves on as it did."""
        if self.box is None:
            return None
        dx, dy = (round(v * (time - self.time)) for v in self.velocity)
        return self.box._replace(x=self.box.x + dx, y=self.box.y + dy)

    def see(self, time: float, box: Box | None) -> None:
        """Note where the face is now."""
        seconds = time - self.time
        if box is not None and self.box is not None and seconds > 0:
            new = 1 - math.exp(-seconds / VELOCITY_TIME)
            moved = (box.x - self.box.x + (box.w - self.box.w) / 2, box.y - self.box.y + (box.h - self.box.h) / 2)
            dx, dy = (v + new * (distance / seconds - v) for v, distance in zip(self.velocity, moved, strict=True))
            self.velocity = (dx, dy)
        self.box, self.time = box, time


class Tracker:
    """Gives faces that follow each other the same track.

    A face belongs to the track whose expected place overlaps it most, as in SORT (Bewley et al. 2016), with constant
    velocity instead of a Kalman filter and the best pair first instead of the Hungarian algorithm.
    """

    def __init__(self) -> None:
        self.tracks: list[Track] = []  # that were seen at most `GAP` ago, or in the last frame, however long ago
        self._count, self._time = 0, 0.0

    def __call__(self, time: float, boxes: Sequence[Box | None]) -> list[Track]:
        """Return the track of each box of a frame, in their order; times must not decrease."""
        self.tracks = [track for track in self.tracks if time - track.time <= GAP or track.time == self._time]
        self._time = time
        places = [track.expected(time) for track in self.tracks]
        overlaps = (
            (_overlap(place, box), at, number) for at, place in enumerate(places) for number, box in enumerate(boxes)
        )
        found: dict[int, Track] = {}
        for much, at, number in sorted(overlaps, key=lambda pair: -pair[0]):
            track = self.tracks[at]
            if much >= LEAST_OVERLAP and number not in found and track not in found.values():
                found[number] = track
        for number, box in enumerate(boxes):
            if number not in found:
                self._count += 1
                found[number] = Track(self._count, box, time)
                self.tracks.append(found[number])
            found[number].see(time, box)
        return [found[number] for number in range(len(boxes))]


def _overlap(first: Box | None, second: Box | None) -> float:
    """Return how much two faces overlap; two pictures taken as a whole do wholly."""
    return float(first is second) if first is None or second is None else first.overlap(second)
