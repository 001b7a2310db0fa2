"""Draw one face.

Shapes are complex numbers x + iy in face units, x from -1 to 1 across the face and y downwards, so that rotation,
scaling and translation are one multiplication and one addition.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from fer_lightning.data.synthetic.face_parameters import Colour, FaceParameters, RandomStream, sample_controls, shade

_T = np.linspace(-1.0, 1.0, 13)  # along a lid, a brow, a lip
_DOME = 1.0 - _T**2
_ROUND = np.exp(1j * np.linspace(0.0, 2.0 * np.pi, 28, endpoint=False))
_FRACTION_BITS = 4  # OpenCV draws at sixteenths of a pixel
_EYE_Y, _TEETH, _THROAT = -0.17, (245.0, 243.0, 235.0), (70.0, 15.0, 20.0)


def oval(centre: complex, a: float, b: float) -> np.ndarray:
    """Return the outline (28,) of an ellipse with half-axes `a` and `b`."""
    return np.asarray(centre + a * _ROUND.real + 1j * b * _ROUND.imag)


def between_lines(x: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return the outline (2 M,) of the area between two lines (M,) over `x` (M,)."""
    return np.concatenate([x + 1j * upper, (x + 1j * lower)[::-1]])


class Pen:
    """Fills and strokes shapes (M,) complex, in face units, on a picture (S, S, 3), uint8; draws the head's pose.

    `near` is how far a part stands out of the plane of the head, hence how far it moves when the head turns or nods.
    """

    def __init__(self, canvas: np.ndarray, stream: RandomStream) -> None:
        side = len(canvas)
        self.canvas = canvas
        self.unit = side * stream.between(0.31, 0.39)  # pixels per face unit
        self._turn = self.unit * np.exp(1j * stream.between(-0.28, 0.28))
        self._centre = side * complex(stream.between(0.42, 0.58), stream.between(0.45, 0.55))
        self._mirror = stream.chance(0.5)
        self._yaw, self._nod = stream.between(-0.16, 0.16), 1j * stream.between(-0.08, 0.08)

    def _pixels(self, shape: np.ndarray, near: float) -> np.ndarray:
        shape = shape + near * (self._yaw * (1.0 - 0.5 * shape.real**2) + self._nod)
        shape = (-shape.conj() if self._mirror else shape) * self._turn + self._centre
        return np.rint(shape.view(np.float64).reshape(-1, 2) * (1 << _FRACTION_BITS)).astype(np.int32)

    def fill(self, shape: np.ndarray, colour: Colour, near: float = 1.0) -> None:
        cv2.fillPoly(self.canvas, [self._pixels(shape, near)], colour, cv2.LINE_AA, _FRACTION_BITS)

    def stroke(self, shape: np.ndarray, colour: Colour, width: float, near: float = 1.0, closed: bool = False) -> None:
        pixels = max(1, round(width * self.unit))
        cv2.polylines(self.canvas, [self._pixels(shape, near)], closed, colour, pixels, cv2.LINE_AA, _FRACTION_BITS)


def draw_face(emotion: str, rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw a random person with one of the seven expressions, evenly lit: (side, side, 3), uint8, RGB."""
    stream = RandomStream(rng, 128)
    background = stream.colour(0.1, 0.9)
    canvas = np.full((side, side, 3), background, dtype=np.uint8)
    pen, params, face = Pen(canvas, stream), FaceParameters(stream), sample_controls(emotion, stream)
    for _ in range(3):
        centre = complex(stream.between(-2, 2), stream.between(-2, 2))
        blob = oval(centre, stream.between(0.2, 1), stream.between(0.2, 1))
        pen.fill(blob, shade(background, stream.between(0.6, 1.4)), near=0.0)
    _draw_head(pen, params, stream)
    _draw_nose(pen, params, face, stream)
    gaze = complex(stream.between(-0.05, 0.05), _EYE_Y + stream.between(-0.02, 0.02))
    for eye in (-1, 1):
        _draw_eye(pen, params, face, eye, gaze)
        _draw_brow(pen, params, face, eye)
    _draw_mouth(pen, params, face)
    for eye in (-1, 1) if params.glasses else ():
        pen.stroke(oval(eye * params.eye_gap - 0.15j, 0.3, 0.25), (30.0, 30.0, 30.0), 0.035, near=1.1, closed=True)
    if face["tear"] > 0.0:
        pen.fill(oval(params.eye_gap + 0.05 + 0.12j, 0.05, 0.11), (190.0, 220.0, 245.0))
    return canvas


def _draw_head(pen: Pen, params: FaceParameters, stream: RandomStream) -> None:
    hair = shade(params.hair)
    if params.hairdo == 2:
        pen.fill(oval(0.25j, stream.between(1.12, 1.3), stream.between(1.4, 1.65)), hair, near=0.0)
    if params.hairdo == 3:
        pen.fill(oval(-0.4j, stream.between(1.2, 1.35), stream.between(1.1, 1.25)), hair, near=0.0)
    neck = np.array([-0.45 + 0.6j, 0.45 + 0.6j, 0.55 + 1.8j, -0.55 + 1.8j])
    pen.fill(neck, shade(params.skin, 0.8), near=0.0)
    pen.fill(oval(2.4j, stream.between(1.3, 1.8), 1.0), shade(stream.colour()), near=0.0)
    for side in (-1, 1):
        pen.fill(oval(0.98 * side, 0.14, 0.24), shade(params.skin, 0.85), near=0.2)
    head, jaw = oval(0.0, 1.0, stream.between(1.15, 1.32)), stream.between(0.0, 0.25)
    head.real *= 1.0 - jaw * np.maximum(_ROUND.imag, 0.0) ** 2  # narrower towards the chin
    pen.fill(head, shade(params.skin), near=0.0)
    if params.beard:
        edge = 0.85 * _T + 1j * (0.46 - 0.2 * _T**2)
        beard = np.concatenate([1.02 * head[head.imag > 0.3], edge])
        pen.fill(beard, shade(0.6 * params.hair + 0.3 * params.skin), near=0.3)
    if params.hairdo > 0:
        line, bow, parting = stream.between(-0.85, -0.6), stream.between(-0.35, 0.1), stream.between(-0.15, 0.15)
        fringe = 0.9 * _T + 1j * (line + bow * _DOME + parting * _T * _DOME)
        pen.fill(np.concatenate([1.07 * head[head.imag < line + 0.15], fringe[::-1]]), hair, near=0.0)


def _draw_nose(pen: Pen, params: FaceParameters, face: Mapping[str, float], stream: RandomStream) -> None:
    """Draw the nose, and the lines of a frown, a wrinkled nose and lifted cheeks."""
    width, line = stream.between(0.04, 0.1), shade(params.skin, 0.5)
    ridge = np.array([0.02 - 0.05j, width + 0.03 + 0.18j, width + 0.05 + 0.27j, 0.31j, -width + 0.29j])
    pen.stroke(ridge, shade(params.skin, 0.65), stream.between(0.03, 0.06), near=1.25)
    for y in (-0.14, -0.05, 0.04) if face["wrinkle"] > 0.0 else ():
        pen.stroke(0.13 * _T + 1j * (y - 0.05 * _DOME), line, 0.035, near=1.1)
    for side in (-1, 1):
        if face["frown"] > 0.0:
            pen.stroke(np.array([0.05 * side - 0.43j, 0.07 * side - 0.26j]), line, 0.035)
        if face["fold"] > 0.0:
            end = face["width"] * params.mouth_size + 0.09
            shape = side * np.array([0.17, 0.75 * end, end]) + 1j * np.array([0.24, 0.37, params.mouth_y - 0.08])
            pen.stroke(shape, shade(params.skin, 1.0 - 0.4 * face["fold"]), 0.035)


def _draw_eye(pen: Pen, params: FaceParameters, face: Mapping[str, float], side: int, gaze: complex) -> None:
    x = side * params.eye_gap + params.eye_width * _T
    middle = _EYE_Y - face["squint"] * _DOME + 0.5 * face["droop"] * side * _T
    opening = face["eye"] * params.eye_size * _DOME
    upper, lower = middle - opening, middle + 0.75 * opening
    pen.fill(between_lines(x, upper, lower), (240.0, 240.0, 240.0))
    for radius, colour in ((0.10 * (1.0 + face["pupil"]), params.iris), (0.055, (10.0, 10.0, 10.0))):
        ring = oval(side * params.eye_gap + gaze, radius, radius)
        lids = np.interp(ring.real, x, upper), np.interp(ring.real, x, lower)
        ring.imag = np.clip(ring.imag, *lids)  # hidden by the lids
        pen.fill(ring, colour)
    pen.stroke(x + 1j * lower, shade(params.skin, 0.7), 0.02)
    pen.stroke(x + 1j * upper, shade(params.skin, 0.25), 0.045)


def _draw_brow(pen: Pen, params: FaceParameters, face: Mapping[str, float], side: int) -> None:
    outwards = side * _T  # from the nose to the temple
    x = side * (params.eye_gap + 0.02 - 0.06 * face["frown"]) + 0.22 * _T
    y = _EYE_Y - params.brow_height - face["brow"] + face["slant"] * outwards - face["arch"] * _DOME
    half = params.brow_width * (1.0 - 0.3 * outwards)
    pen.fill(between_lines(x, y - half, y + half), params.brow_colour)


def _draw_mouth(pen: Pen, params: FaceParameters, face: Mapping[str, float]) -> None:
    x, opening = face["width"] * params.mouth_size * _T, face["mouth"] * np.sqrt(_DOME)
    smile = params.mouth_y - face["smile"] * (_T**2 - 0.5) + face["skew"] * _T
    middle = smile + 0.03 * face["tremble"] * np.sin(7.0 * _T + 0.5)
    if face["mouth"] < 0.04:
        pen.stroke(x + 1j * middle, shade(params.skin * (0.55, 0.35, 0.35)), params.lip_width + 0.03)
        return
    lift = 0.3 if face["smile"] > 0.1 else 0.5  # a laugh opens downwards
    upper, lower = middle - lift * opening, middle + (1.0 - lift) * opening
    pen.fill(between_lines(x, upper, lower), _THROAT)
    if face["frown"] > 0.0:  # clenched: both rows of teeth
        pen.fill(between_lines(x, upper, lower), _TEETH)
        pen.stroke(x + 0.5j * (upper + lower), _THROAT, 0.025)
    elif face["teeth"] > 0.0:
        pen.fill(between_lines(x, upper, upper + 0.6 * face["teeth"] * opening), _TEETH)
    if face["tongue"] > 0.5:
        pen.fill(oval(1j * (params.mouth_y + 0.75 * face["mouth"] + 0.08), 0.5 * x[-1], 0.14), (205.0, 95.0, 100.0))
    pen.stroke(between_lines(x, upper, lower), shade(params.skin * (0.85, 0.5, 0.5)), params.lip_width, closed=True)
