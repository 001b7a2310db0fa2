"""Faces by a Haar cascade (Viola and Jones, 2001), which OpenCV 4 ships and OpenCV 5 no longer knows."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.detection.detector import Detection
from fer_lightning.inference.detection.search import Found, find_faces

SIDE = 320  # of a square with as many pixels as the copy that is searched
NEIGHBOURS = 8  # boxes that must agree: with 5, a third of the results hold no face, with 8 a fifth
CASCADE = "haarcascade_frontalface_default.xml"


class HaarDetector:
    """See `FaceDetector`; a cascade knows no probability, so every score is 1."""

    name = "haar"

    def __init__(self, file: str | Path | None = None, *, side: int = SIDE, neighbours: int = NEIGHBOURS) -> None:
        self.side, self.neighbours, self._lock = side, neighbours, threading.Lock()
        if not hasattr(cv2, "CascadeClassifier"):
            raise ConfigError(
                f"faces=haar needs OpenCV 4, and this is OpenCV {cv2.__version__}, which has no Haar cascades: type "
                'faces=auto, or pip install "opencv-python-headless<5"'
            )
        path = Path(cv2.__file__).parent / "data" / CASCADE if file is None else Path(file)
        try:
            self._cascade = cv2.CascadeClassifier(str(path))
        except (cv2.error, SystemError) as error:  # of a file that is no XML, or another XML
            raise ConfigError(_no_cascade(path)) from error
        if self._cascade.empty():
            raise ConfigError(_no_cascade(path))

    def __call__(self, picture: np.ndarray) -> list[Detection]:
        return find_faces(picture, self._search, (self.side,))

    def _search(self, copy: np.ndarray) -> list[Found]:
        grey = copy if copy.ndim == 2 else cv2.cvtColor(copy, cv2.COLOR_RGB2GRAY)
        with self._lock:
            found = self._cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=self.neighbours)
        return [(box, 1.0) for box in found]


def _no_cascade(path: Path) -> str:
    return f"detector_file={path} is no cascade of OpenCV: name a file such as {CASCADE}, or none for OpenCV's own"
