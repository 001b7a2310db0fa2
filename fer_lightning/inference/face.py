"""What is found in a picture: its faces, each with a label, or with a status that says why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

Status = Literal["ok", "uncertain", "no_face", "unreadable"]
UNCERTAIN = "uncertain"  # the label of a face whose confidence is below the threshold


class Box(NamedTuple):
    """A rectangle in pixels of its picture: left and top edge, width and height; it may reach beyond the picture."""

    x: int
    y: int
    w: int
    h: int

    def overlap(self, other: Box) -> float:
        """Return intersection over union, in [0, 1].

        >>> Box(0, 0, 10, 10).overlap(Box(5, 0, 10, 10))
        0.3333333333333333
        """
        width = min(self.x + self.w, other.x + other.w) - max(self.x, other.x)
        height = min(self.y + self.h, other.y + other.h) - max(self.y, other.y)
        common = max(width, 0) * max(height, 0)
        return common / max(self.w * self.h + other.w * other.h - common, 1)


@dataclass(frozen=True)
class Face:
    """One face, or the reason why there is none.

    Attributes:
        label: name of the most probable class; `uncertain` below the threshold; None without a face.
        confidence: probability of the most probable class, in [0, 1]; 0 without a face.
        probabilities: of each class by its name, in the order of the model; empty without a face.
        box: where the detector found it; None for a picture that was taken as a whole, or without a face.
        status: `ok`, `uncertain`, `no_face` (nothing was found) or `unreadable` (the file is no picture).
        track: number of the face in its video, from 1, the same in each frame; None for a photograph.

    >>> Face("happy", 0.75, {"happy": 0.75, "sad": 0.25}, Box(8, 4, 48, 48))
    Face('happy', 0.750, box=(8, 4, 48, 48))
    >>> Face(status="no_face")
    Face(status='no_face')
    """

    label: str | None = None
    confidence: float = 0.0
    probabilities: Mapping[str, float] = field(default_factory=dict, hash=False)
    box: Box | None = None
    status: Status = "ok"
    track: int | None = None

    def __repr__(self) -> str:
        label = [] if self.label is None else [repr(self.label), f"{self.confidence:.3f}"]
        box = [] if self.box is None else [f"box={tuple(self.box)}"]
        status = [] if self.status == "ok" else [f"status={self.status!r}"]
        return f"Face({', '.join((*label, *box, *status))})"


class Faces(list[Face]):
    """The faces of one picture, the largest first; at least one entry, see `Face.status`.

    Attributes:
        picture: uint8 `(H, W)` grey or `(H, W, 3)` RGB, turned upright; None where it could not be read.
        source: name of its file, or where else it is from.
        note: what is to be said about the file, such as why it is unreadable; None for nothing.
        frame, time: number and seconds of a frame in its video, from 0; None for a photograph.
    """

    def __init__(
        self,
        faces: Iterable[Face],
        picture: np.ndarray | None = None,
        source: str = "",
        note: str | None = None,
        frame: int | None = None,
        time: float | None = None,
    ) -> None:
        super().__init__(faces)
        self.picture, self.source, self.note, self.frame, self.time = picture, source, note, frame, time

    def _repr_html_(self) -> str:
        return Predictions([self])._repr_html_()


class Predictions(list[Faces]):
    """The faces of each of several pictures; a list that a notebook shows as thumbnails."""

    def _repr_html_(self) -> str:
        from fer_lightning.inference.notebook import show_pictures

        return show_pictures(self)
