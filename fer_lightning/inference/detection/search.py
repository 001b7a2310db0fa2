"""What detectors share: the copies of a picture that are searched, and boxes brought back from them to the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from fer_lightning.inference.detection.detector import Detection
from fer_lightning.inference.face import Box

Found = tuple[Sequence[float], float]  # box (x, y, w, h) in pixels of the copy, score
LARGEST_ENLARGEMENT = 4.0  # of a small picture
SMALLEST = 32  # pixels: the step of the coarsest level of YuNet's family; a shorter side gets a black edge
MOST_OVERLAP = 0.45  # intersection over union of two boxes that are not the same face


def find_faces(
    picture: np.ndarray, search: Callable[[np.ndarray], Iterable[Found]], sides: Sequence[int], large: int = 0
) -> list[Detection]:
    """Return the faces that `search` finds in copies of a picture, the largest first, and each one once.

    Args:
        picture: uint8 `(H, W)` or `(H, W, 3)`.
        search: maps a copy, C-contiguous, to boxes.
        sides: of squares that have as many pixels as the copies, ascending.
        large: pixels of the copy; once a face has them, no larger copy is searched.
    """
    found: list[tuple[Box, float]] = []
    before = 0.0
    for side in sides:
        copy, scale = search_copy(picture, side)
        if copy.size == 0 or scale == before:
            break
        before = scale
        for box, score in search(copy):
            found.append((Box(*(round(float(value) / scale) for value in box)), float(score)))
        if any(max(box.w, box.h) * scale >= large for box, _ in found):
            break
    return once_each(found)


def search_copy(picture: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """Return a picture with about `side` x `side` pixels, none of its sides longer than twice `side`, and the scale."""
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)):
        raise ValueError(f"a picture is uint8 (H, W) or (H, W, 3), not {picture.dtype} {picture.shape}")
    height, width = picture.shape[:2]
    if picture.size == 0:
        return picture, 1.0
    scale = min(LARGEST_ENLARGEMENT, side / (height * width) ** 0.5, 2 * side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    copy = cv2.resize(np.ascontiguousarray(picture), size, interpolation=method)
    bottom, right = (max(0, SMALLEST - side) for side in copy.shape[:2])
    if bottom or right:
        copy = cv2.copyMakeBorder(copy, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
    return copy, scale


def once_each(found: Iterable[tuple[Box, float]]) -> list[Detection]:
    """Return boxes and scores, the largest first; of boxes that overlap, the one with the highest score stays."""
    kept: list[Detection] = []
    for box, score in sorted(found, key=lambda one: -one[1]):
        if box.w > 0 and box.h > 0 and all(box.overlap(other.box) <= MOST_OVERLAP for other in kept):
            kept.append(Detection(box, score))
    return sorted(kept, key=lambda detection: -detection.box.w * detection.box.h)
