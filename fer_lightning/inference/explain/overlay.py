"""A heat map laid over its face."""

from __future__ import annotations

import cv2
import numpy as np

# vermillion and its dark, after Okabe and Ito: on a grey face the one hue is seen with every colour blindness
HEAT, EDGE = np.array([213, 94, 0]), (92, 32, 0)
STRONGEST = 0.65  # opacity where the map is 1, so that the face stays visible
DARKEST = 60  # grey of black pixels, on which the tint could not be seen
BLUR = 1 / 24  # of the side: softens the edges of the squares that occlusion hides
HALF = 0.5  # the value that a line is drawn around


def overlay(face: np.ndarray, heat_map: np.ndarray, side: int = 240) -> np.ndarray:
    """Return a face in grey, tinted by its heat map, with a line around what reaches half of the highest value.

    Args:
        face: uint8 `(C, S, S)`.
        heat_map: float `(S, S)` in [0, 1], as `heat_maps` returns it.
        side: pixels a side of the result.

    Returns:
        RGB uint8 `(side, side, 3)`.
    """
    pixels = np.ascontiguousarray(face.transpose(1, 2, 0))
    grey = pixels[..., 0] if len(face) == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    both = (np.asarray(image, np.float32) for image in (grey, heat_map))
    large, heat = (cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC) for image in both)
    heat = cv2.GaussianBlur(heat, (0, 0), BLUR * side).clip(0, 1)
    light = DARKEST + large.clip(0, 255)[..., None] * (1 - DARKEST / 255)
    opacity = STRONGEST * heat[..., None]
    tinted = ((1 - opacity) * light + opacity * HEAT).round().astype(np.uint8)
    outlines, _ = cv2.findContours((heat >= HALF).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(tinted, outlines, -1, EDGE, max(1, side // 180), cv2.LINE_AA))
