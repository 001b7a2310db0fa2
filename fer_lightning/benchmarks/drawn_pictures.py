"""What the suite `inference` shows a model: drawn faces, alone, in a photograph and in a video."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from fer_lightning.data.synthetic.faces import draw_face

PHOTOGRAPH, FRAME = (512, 512), (1280, 720)  # width and height in pixels


def draw_picture(width: int, height: int, *, left: float = 0.5, seed: int = 0) -> np.ndarray:
    """Return a picture uint8 `(height, width, 3)`, RGB, of one face before noise, half as high as the picture.

    `left` is where the face is between the left edge, 0, and the right edge, 1.
    """
    rng, side = np.random.default_rng(seed), height // 2
    picture = cv2.resize(rng.integers(90, 130, (height // 8, width // 8, 3), dtype=np.uint8), (width, height))
    x, y = round(left * (width - side)), (height - side) // 2
    picture[y : y + side, x : x + side] = draw_face("happy", np.random.default_rng(seed), side)
    return picture


def write_video(path: Path, width: int, height: int, *, frames: int = 60) -> None:
    """Write a Motion-JPEG video (`.avi`), which every OpenCV can, of a face that moves from left to right.

    Raises an OSError where it cannot be written.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (width, height))
    if not writer.isOpened():
        raise OSError(f"OpenCV cannot write {path}")
    for number in range(frames):
        writer.write(draw_picture(width, height, left=number / frames)[..., ::-1])  # OpenCV writes blue first
    writer.release()
