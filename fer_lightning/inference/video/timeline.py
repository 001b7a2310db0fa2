"""Sums up the expressions of each face over time, in memory that does not grow with the video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fer_lightning.inference.face import Faces

MOST_BINS = 1024  # about as many as a figure has pixels; then two become one
FIRST_WIDTH = 0.02  # seconds of a bin in the beginning: shorter than a frame
MOST_FACES = 64  # that are kept; of more, those that were seen shortest are counted only


class Curve(NamedTuple):
    """One face over time; a row for each bin, NaN where it was not seen.

    Attributes:
        number: of its track.
        frames: in how many it was seen.
        probabilities: float `(bins, K)`, averages over each bin.
        labels: float `(bins, K)`, how often each class was the label, in [0, 1]; the rest was `uncertain`.
    """

    number: int
    frames: int
    probabilities: np.ndarray
    labels: np.ndarray


@dataclass
class Timeline:
    """Gathers the frames of one video as they come.

    Attributes:
        classes: names of the model's outputs.
        width: seconds of a bin.
        frames: how many were added.
        end: time of the last of them, in seconds.
        left_out: how many faces were seen so shortly that they were given up for others.
    """

    classes: Sequence[str]
    width: float = FIRST_WIDTH
    frames: int = 0
    end: float = 0.0
    left_out: int = 0
    _sums: dict[int, dict[int, np.ndarray]] = field(default_factory=dict)  # by track and bin: (2 K + 1), see `add`

    def add(self, faces: Faces) -> None:
        """Add a frame; of its faces, those that have a number count."""
        assert faces.time is not None
        self.frames, self.end = self.frames + 1, faces.time
        while self.end / self.width >= MOST_BINS:
            self._merge()
        at = int(self.end / self.width)
        seen = {face.track: face for face in faces if face.track is not None}
        for track, face in seen.items():
            labels = (float(face.label == name) for name in self.classes)
            values = np.fromiter((*face.probabilities.values(), *labels, 1.0), float)
            bins = self._sums.setdefault(track, {})
            bins[at] = bins.get(at, 0.0) + values
        while len(self._sums) > max(MOST_FACES, len(seen)):
            shortest = min(self._sums.keys() - seen.keys(), key=self._frames)
            del self._sums[shortest]
            self.left_out += 1

    def curves(self, most: int) -> list[Curve]:
        """Return the faces that were seen longest, at most so many, in order of their numbers.

        Bins become wide enough to hold two frames each, so that none between two frames is empty.
        """
        while self.width < 2 * self.end / max(self.frames - 1, 1):
            self._merge()
        count, classes = int(self.end / self.width) + 1, len(self.classes)
        curves = []
        for track in sorted(sorted(self._sums, key=self._frames, reverse=True)[:most]):
            sums = np.full((count, 2 * classes + 1), np.nan)
            for at, values in self._sums[track].items():
                sums[at] = values
            shares = sums[:, :-1] / sums[:, -1:]
            curves.append(Curve(track, self._frames(track), shares[:, :classes], shares[:, classes:]))
        return curves

    @property
    def faces(self) -> int:
        """How many faces were seen."""
        return len(self._sums) + self.left_out

    def _frames(self, track: int) -> int:
        return round(sum(float(values[-1]) for values in self._sums[track].values()))

    def _merge(self) -> None:
        """Make each bin twice as wide."""
        self.width *= 2
        for track, bins in self._sums.items():
            merged: dict[int, np.ndarray] = {}
            for at, values in bins.items():
                merged[at // 2] = merged.get(at // 2, 0.0) + values
            self._sums[track] = merged
