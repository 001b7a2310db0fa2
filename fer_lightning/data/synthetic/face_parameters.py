"""The numbers that describe a drawn person and an expression; `faces.py` draws them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

Colour = tuple[float, float, float]  # red, green, blue, 0 to 255

# Each expression as (low, high) of its controls, in half face widths or as a fraction; other controls are 0.
# After the action units of Ekman and Friesen, Facial Action Coding System (1978), exaggerated as in cartoons.
EXPRESSIONS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "angry": {
        "brow": (-0.09, -0.04), "slant": (-0.17, -0.10), "arch": (0.0, 0.04), "eye": (0.07, 0.11), "frown": (0.6, 1.0),
        "smile": (-0.12, -0.04), "mouth": (-0.06, 0.20), "width": (0.28, 0.40), "teeth": (1.0, 1.0),
    },
    "disgust": {
        "brow": (-0.05, 0.0), "slant": (-0.09, -0.03), "arch": (0.0, 0.05), "eye": (0.03, 0.06), "wrinkle": (0.7, 1.0),
        "fold": (0.7, 1.0), "smile": (-0.18, -0.09), "mouth": (0.06, 0.15), "width": (0.26, 0.36), "skew": (0.06, 0.12),
        "teeth": (0.5, 0.8), "tongue": (0.0, 1.0),
    },
    "fear": {
        "brow": (0.08, 0.15), "slant": (0.10, 0.17), "arch": (0.0, 0.03), "eye": (0.15, 0.19), "pupil": (-0.40, -0.25),
        "smile": (-0.12, -0.06), "mouth": (0.13, 0.25), "width": (0.36, 0.48), "teeth": (0.6, 1.0),
        "tremble": (0.5, 1.0),
    },
    "happy": {
        "brow": (0.02, 0.08), "slant": (-0.02, 0.03), "arch": (0.05, 0.10), "eye": (0.04, 0.08), "squint": (0.04, 0.08),
        "fold": (0.3, 0.8), "smile": (0.15, 0.26), "mouth": (-0.06, 0.24), "width": (0.40, 0.52), "teeth": (0.6, 1.0),
    },
    "neutral": {
        "brow": (0.0, 0.05), "slant": (0.0, 0.04), "arch": (0.03, 0.08), "eye": (0.08, 0.12), "smile": (-0.02, 0.03),
        "width": (0.28, 0.40),
    },
    "sad": {
        "brow": (0.02, 0.09), "slant": (0.11, 0.19), "arch": (-0.02, 0.02), "eye": (0.05, 0.09), "droop": (0.05, 0.09),
        "smile": (-0.22, -0.12), "width": (0.24, 0.34), "tear": (-1.5, 1.0),
    },
    "surprise": {
        "brow": (0.13, 0.22), "slant": (-0.03, 0.02), "arch": (0.09, 0.15), "eye": (0.15, 0.20), "pupil": (-0.2, -0.1),
        "smile": (0.0, 0.03), "mouth": (0.26, 0.48), "width": (0.15, 0.24),
    },
}  # fmt: skip
CONTROLS = sorted({control for expression in EXPRESSIONS.values() for control in expression})

_SKINS = np.array([(250, 222, 200), (236, 190, 155), (205, 150, 110), (150, 100, 70), (105, 70, 52)], dtype=np.float64)
_HAIRS = np.array([(35, 28, 25), (80, 55, 35), (150, 105, 55), (215, 180, 115), (170, 80, 40), (175, 170, 168)])
_IRISES = ((60.0, 40.0, 25.0), (45.0, 30.0, 20.0), (70.0, 110.0, 80.0), (80.0, 125.0, 155.0))


class RandomStream:
    """A fixed number of uniform draws from a generator, consumed in order."""

    def __init__(self, rng: np.random.Generator, draws: int) -> None:
        self._draws: Iterator[float] = iter(rng.random(draws).tolist())  # one call is 40 times faster than one per draw

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * next(self._draws)

    def chance(self, probability: float) -> bool:
        return next(self._draws) < probability

    def below(self, count: int) -> int:
        return int(next(self._draws) * count)

    def colour(self, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        return np.array([255.0 * self.between(low, high) for _ in range(3)])

    def blend(self, table: np.ndarray) -> np.ndarray:
        """Return a mixture (3,) of two adjacent rows of `table` (N, 3)."""
        row, weight = divmod(self.between(0.0, len(table) - 1), 1.0)
        mixture: np.ndarray = table[int(row)] * (1.0 - weight) + table[int(row) + 1] * weight
        return mixture


def shade(colour: np.ndarray, factor: float = 1.0) -> Colour:
    """Return `colour` (3,) times a factor, as a tuple for OpenCV."""
    return tuple(np.minimum(colour * factor, 255.0).tolist())


class FaceParameters:
    """What does not depend on the expression, drawn at random; lengths in half face widths."""

    def __init__(self, stream: RandomStream) -> None:
        self.skin, self.hair = stream.blend(_SKINS), _HAIRS[stream.below(len(_HAIRS))]
        self.hairdo = stream.below(4)  # 0 bald, 1 short, 2 long, 3 full
        self.iris = _IRISES[stream.below(len(_IRISES))]
        self.eye_gap = stream.between(0.37, 0.46)
        self.eye_width = stream.between(0.18, 0.23)
        self.eye_size = stream.between(0.9, 1.15)
        self.brow_height = stream.between(0.26, 0.32)
        self.brow_width = stream.between(0.025, 0.05)
        visible = np.minimum(self.hair, 0.75 * self.skin)  # against the skin
        self.brow_colour = shade(visible, stream.between(0.45, 0.8))
        self.mouth_y = stream.between(0.57, 0.67)
        self.mouth_size = stream.between(0.9, 1.1)
        self.lip_width = stream.between(0.035, 0.07)
        self.beard = stream.chance(0.1)
        self.glasses = stream.chance(0.15)


def sample_controls(emotion: str, stream: RandomStream) -> dict[str, float]:
    """Return a value for every control of a face with an expression of random strength."""
    neutral, full = (
        dict.fromkeys(CONTROLS, 0.0)
        | {control: stream.between(*limits) for control, limits in EXPRESSIONS[name].items()}
        for name in ("neutral", emotion)
    )
    strength = stream.between(0.55, 1.0)
    return {key: neutral[key] + strength * (full[key] - neutral[key]) for key in CONTROLS}
