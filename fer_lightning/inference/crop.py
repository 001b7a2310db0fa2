"""Cuts a face out of a picture so that it looks like the faces a model was trained on."""

from __future__ import annotations

import cv2
import numpy as np

from fer_lightning.data.cache.decode import fit_image
from fer_lightning.inference.face import Box

MARGIN = 0.0  # widening of the box on each side, as a fraction of its longer side


def crop_face(picture: np.ndarray, box: Box, image_size: int, channels: int, margin: float = MARGIN) -> np.ndarray:
    """Return a square around a box as `fit_image` makes a whole picture: uint8 `(C, image_size, image_size)`.

    Beyond the edges of the picture, uint8 `(H, W)` or `(H, W, 3)`, its outermost pixels are repeated.
    """
    side = max(1, round(max(box.w, box.h) * (1 + 2 * margin)))
    left, top = round(box.x + box.w / 2 - side / 2), round(box.y + box.h / 2 - side / 2)
    height, width = picture.shape[:2]
    inside = picture[max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
    beyond = (max(-top, 0), max(top + side - height, 0), max(-left, 0), max(left + side - width, 0))
    if any(beyond):
        inside = cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REPLICATE)
    return fit_image(inside, image_size, channels)
