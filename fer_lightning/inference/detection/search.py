"""What detectors share: the smaller copy that is searched, and boxes brought back from it to the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from fer_lightning.inference.detection.detector import Detection
from fer_lightning.inference.face import Box

SMALLEST = 32  # pixels: the step of the coarsest level of YuNet's family; a shorter side gets a black edge
MOST_OVERLAP = 0.45  # intersection over union of two boxes that are not the same face


def search_copy(picture: np.ndarray, longest: int) -> tuple[np.ndarray, float]:
    """Return a picture, uint8 `(H, W)` or `(H, W, 3)`, scaled down to `longest` pixels at most, and the scale."""
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)):
        raise ValueError(f"a picture is uint8 (H, W) or (H, W, 3), not {picture.dtype} {picture.shape}")
    height, width = picture.shape[:2]
    scale = min(1.0, longest / max(height, width, 1))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
    bottom, right = (max(0, SMALLEST - side) for side in picture.shape[:2])
    if (bottom or right) and picture.size:
        picture = cv2.copyMakeBorder(np.ascontiguousarray(picture), 0, bottom, 0, right, cv2.BORDER_CONSTANT)
    return np.ascontiguousarray(picture), scale


def in_picture(found: Iterable[tuple[Sequence[float], float]], scale: float) -> list[Detection]:
    """Return boxes `(x, y, w, h)` of a copy, with their scores, as faces of the picture, the largest first.

    Of boxes that overlap, the one with the highest score stays.
    """
    kept: list[Detection] = []
    for (x, y, w, h), score in sorted(found, key=lambda one: -one[1]):
        box = Box(*(round(float(value) / scale) for value in (x, y, w, h)))
        if box.w > 0 and box.h > 0 and all(_overlap(box, other.box) <= MOST_OVERLAP for other in kept):
            kept.append(Detection(box, float(score)))
    return sorted(kept, key=lambda detection: -detection.box.w * detection.box.h)


def _overlap(one: Box, other: Box) -> float:
    width = min(one.x + one.w, other.x + other.w) - max(one.x, other.x)
    height = min(one.y + one.h, other.y + other.h) - max(one.y, other.y)
    common = max(width, 0) * max(height, 0)
    return common / (one.w * one.h + other.w * other.h - common)
