"""Averages the probabilities of each face over time, and holds its label, so that nothing flickers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.face import UNCERTAIN, Face, Faces
from fer_lightning.inference.video.tracking import Tracker


@dataclass
class _State:
    """What is known of one face: averages, the label that is shown, and the one that is ahead of it since when."""

    time: float
    probabilities: Mapping[str, float]
    label: str
    ahead: str
    since: float


class Smoother:
    """Smooths the faces of one video, frame by frame; a function of times and faces alone, whatever the frame rate.

    The average is exponential, for frames at any distance (Eckner 2012, "Algorithms for unevenly spaced time series"):
    after a step, it has gone 63 % of the way in `smooth` seconds. The label is the class of the highest average, but
    another one replaces it only after it has been ahead for `hold` seconds without a break.

    Attributes:
        smooth: time constant of the average in seconds; 0 for the values of each frame.
        hold: seconds that a class must be ahead before it becomes the label; 0 for at once.
        threshold: average probability of the label below which it is `uncertain`, in [0, 1].

    Raises:
        ConfigError: smooth or hold is negative.
    """

    def __init__(self, smooth: float = 0.5, hold: float = 0.5, threshold: float = 0.0) -> None:
        for name, value in (("smooth", smooth), ("hold", hold)):
            if not 0 <= value < math.inf:
                raise ConfigError(f"{name}={value} is a time in seconds: type 0 or more")
        self.smooth, self.hold, self.threshold = smooth, hold, threshold
        self._tracker = Tracker()
        self._states: dict[int, _State] = {}

    def __call__(self, time: float, faces: Sequence[Face]) -> list[Face]:
        """Return the faces of a frame with numbers of their tracks, averages and held labels, in the same order.

        Entries without a face, such as `no_face`, stay as they are. Times in seconds must not decrease.
        """
        tracks = iter(self._tracker(time, [face.box for face in faces if face.label is not None]))
        smoothed = [face if face.label is None else self._face(next(tracks).number, time, face) for face in faces]
        alive = {track.number for track in self._tracker.tracks}
        self._states = {number: state for number, state in self._states.items() if number in alive}
        return smoothed

    def _face(self, number: int, time: float, face: Face) -> Face:
        state = self._states.get(number)
        if state is None:
            best = _highest(face.probabilities)
            state = self._states[number] = _State(time, face.probabilities, best, best, time)
        else:
            self._update(state, time, face.probabilities)
        confidence = state.probabilities[state.label]
        certain = confidence >= self.threshold
        return replace(
            face,
            label=state.label if certain else UNCERTAIN,
            confidence=confidence,
            probabilities=state.probabilities,
            status="ok" if certain else "uncertain",
            track=number,
        )

    def _update(self, state: _State, time: float, probabilities: Mapping[str, float]) -> None:
        old = 0.0 if self.smooth == 0 else math.exp(-(time - state.time) / self.smooth)
        state.probabilities = {
            name: old * before + (1 - old) * probabilities[name] for name, before in state.probabilities.items()
        }
        state.time = time
        best = _highest(state.probabilities)
        if best != state.ahead:
            state.ahead, state.since = best, time
        if time - state.since >= self.hold - 1e-6:  # times are rounded in files
            state.label = state.ahead


def smoothed(results: Iterable[Faces], smooth: float, hold: float, threshold: float) -> Iterator[Faces]:
    """Yield results with the frames of each video smoothed; those of photographs pass unchanged.

    Args:
        results: the frames of a video follow each other.
        smooth, hold, threshold: see `Smoother`.
    """
    video, smoother = None, Smoother(smooth, hold, threshold)
    for faces in results:
        if faces.time is not None:
            if faces.source != video or faces.frame == 0:
                video, smoother = faces.source, Smoother(smooth, hold, threshold)
            faces[:] = smoother(faces.time, faces)
        yield faces


def _highest(probabilities: Mapping[str, float]) -> str:
    return max(probabilities, key=probabilities.__getitem__)
