"""Faces by OpenCV's `FaceDetectorYN` with YuNet's weights, a file that the user names."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np

from fer_lightning.core.errors import ConfigError, first_lines
from fer_lightning.inference.detection.detector import Detection
from fer_lightning.inference.detection.search import in_picture, search_copy

LONGEST = 320  # pixels of the longer side of the copy that is searched


class YunetDetector:
    """See `FaceDetector`."""

    name = "yunet"

    def __init__(self, file: str | Path, *, longest: int = LONGEST, minimum_score: float = 0.6) -> None:
        self.longest, self._lock = longest, threading.Lock()
        try:
            self._network = cv2.FaceDetectorYN.create(str(file), "", (longest, longest), minimum_score)
            self(np.zeros((64, 64), dtype=np.uint8))  # another network fails only when it runs
        except cv2.error as error:
            raise ConfigError(
                f"detector_file={file} is no YuNet network for OpenCV {cv2.__version__} ({first_lines(error)}): name "
                "face_detection_yunet_….onnx of OpenCV's model zoo, or leave detector_file out"
            ) from error

    def __call__(self, picture: np.ndarray) -> list[Detection]:
        copy, scale = search_copy(picture, self.longest)
        if not copy.size:
            return []
        bgr = cv2.cvtColor(copy, cv2.COLOR_GRAY2BGR if copy.ndim == 2 else cv2.COLOR_RGB2BGR)
        with self._lock:  # the network holds the size of its input
            self._network.setInputSize((copy.shape[1], copy.shape[0]))
            _, found = self._network.detect(bgr)
        # a row: box, five landmarks (x, y), score
        return in_picture(((row[:4], row[14]) for row in (() if found is None else found)), scale)
