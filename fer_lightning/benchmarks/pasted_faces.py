"""Photographs with faces whose place is known: those of the data, pasted into photographs of libraries."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fer_lightning.data.cache.decode import decode_picture
from fer_lightning.inference.face import Box

FRAME, PHOTOGRAPH = (1280, 720), (512, 512)  # width and height in pixels
WITHOUT_FACES = (  # of scikit-image, where it is installed
    *("brick", "cell", "chelsea", "clock", "coffee", "coins", "grass", "gravel", "hubble_deep_field"),
    *("immunohistochemistry", "moon", "page", "retina", "rocket", "stereo_motorcycle", "text"),
)
BACKGROUNDS = ("chelsea", "coffee", "coins", "rocket", "china", "flower")


@dataclass(frozen=True)
class Scene:
    """A picture, uint8 `(H, W, 3)`, and the square that its face fills; None without a face."""

    picture: np.ndarray
    face: Box | None


def photographs_without_faces() -> dict[str, np.ndarray]:
    """Return pictures, RGB, that come with scikit-learn and, where it is installed, with scikit-image."""
    import sklearn

    images = Path(sklearn.__file__).parent / "datasets" / "images"
    found = {name: _colour(decode_picture((images / f"{name}.jpg").read_bytes())) for name in ("china", "flower")}
    try:
        data: Any = importlib.import_module("skimage.data")
    except ImportError:
        return found
    loaded = {name: getattr(data, name)() for name in WITHOUT_FACES}
    return found | {name: _colour(one[0] if isinstance(one, tuple) else one) for name, one in loaded.items()}


def photographs_of_one_face() -> dict[str, Scene]:
    """Return photographs, RGB, that come with matplotlib and, where it is installed, with scikit-image."""
    from matplotlib.cbook import get_sample_data

    hopper = get_sample_data("grace_hopper.jpg", asfileobj=False)
    found = {"grace_hopper": Scene(_colour(decode_picture(Path(str(hopper)).read_bytes())), Box(164, 120, 200, 200))}
    try:
        data: Any = importlib.import_module("skimage.data")
    except ImportError:
        return found
    return found | {
        "astronaut": Scene(_colour(data.astronaut()), Box(168, 63, 110, 110)),
        "camera": Scene(_colour(data.camera()), Box(188, 118, 75, 75)),
    }


def pasted(
    faces: np.ndarray,
    photographs: dict[str, np.ndarray],
    *,
    canvas: tuple[int, int],
    sizes: tuple[int, int],
    tilt: float = 0.0,
    light: Callable[[np.ndarray], np.ndarray] | None = None,
    seed: int = 0,
) -> Iterator[Scene]:
    """Yield a scene for each face, uint8 `(N, S, S)` or `(N, S, S, 3)`.

    Args:
        canvas: width and height of the pictures, in pixels.
        sizes: smallest and largest side of the square that is pasted.
        tilt: of the square, in degrees, to either side.
        light: changes the picture, float32 in [0, 255].
    """
    rng = np.random.default_rng(seed)
    backgrounds = [photographs[name] for name in BACKGROUNDS if name in photographs]
    for face in faces:
        picture = cut_to(backgrounds[rng.integers(len(backgrounds))], *canvas, rng)
        size, angle = int(rng.integers(sizes[0], sizes[1] + 1)), tilt * rng.choice([-1.0, 1.0])
        room = round(size * (0.5 + 0.21 * (tilt > 0)))  # from the centre to a corner of a turned square
        x, y = (int(rng.integers(room, max(room, side - room) + 1)) for side in canvas)
        shift = np.array([[0, 0, x - size / 2], [0, 0, y - size / 2]])
        turn = cv2.getRotationMatrix2D((size / 2, size / 2), angle, 1.0) + shift
        shrinks = size < face.shape[0]
        square = cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        mask = cv2.warpAffine(np.ones((size, size), dtype=np.float32), turn, canvas)[..., None]
        picture = picture * (1 - mask) + cv2.warpAffine(_colour(square), turn, canvas) * mask
        picture = np.clip(picture if light is None else light(picture), 0, 255).round().astype(np.uint8)
        yield Scene(picture, Box(round(x - size / 2), round(y - size / 2), size, size))


def variants(scene: Scene, *, mirrored: bool) -> Iterator[Scene]:
    """Yield a photograph of a face in sizes from 128 to 1280 pixels."""
    box = scene.face
    if box is None:
        raise ValueError("a photograph of a face")
    for longest in (128, 256, 512, 1280):
        scale = longest / max(scene.picture.shape[:2])
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        picture = cv2.resize(scene.picture, None, fx=scale, fy=scale, interpolation=method)
        x, y, w, h = (round(value * scale) for value in box)
        yield (
            Scene(picture[:, ::-1], Box(picture.shape[1] - x - w, y, w, h))
            if mirrored
            else Scene(picture, Box(x, y, w, h))
        )


def cut_to(photograph: np.ndarray, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Return a part of a photograph at a random place, scaled to this size."""
    scale = max(width / photograph.shape[1], height / photograph.shape[0]) * rng.uniform(1, 1.4)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = [
        max(least, round(side * scale)) for least, side in zip((width, height), photograph.shape[1::-1], strict=True)
    ]
    large = cv2.resize(photograph, size, interpolation=method)
    left, top = rng.integers(size[0] - width + 1), rng.integers(size[1] - height + 1)
    return large[top : top + height, left : left + width]


def is_found(box: Box, face: Box) -> bool:
    """Return whether a box is about where a face is: its centre in the middle of the face, its side about as long."""
    across, down = box.x + box.w / 2 - face.x - face.w / 2, box.y + box.h / 2 - face.y - face.h / 2
    return max(abs(across), abs(down)) < 0.3 * face.w and 0.4 * face.w < max(box.w, box.h) < 1.7 * face.w


def _colour(picture: np.ndarray) -> np.ndarray:
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
