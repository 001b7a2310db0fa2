"""A drawn person and an expression as a few numbers; `faces.py` turns them into a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]  # red, green, blue, 0 to 255

# What each expression does to a face: (low, high) in halves of a face's width or as a share of 1; 0 where not named.
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
FAINTEST = 0.55  # an expression is shown at this share of its strength or more

_SKINS = np.array([(250, 222, 200), (236, 190, 155), (205, 150, 110), (150, 100, 70), (105, 70, 52)], dtype=np.float64)
_HAIRS = np.array([(35, 28, 25), (80, 55, 35), (150, 105, 55), (215, 180, 115), (170, 80, 40), (175, 170, 168)])
_IRISES = ((60.0, 40.0, 25.0), (45.0, 30.0, 20.0), (70.0, 110.0, 80.0), (80.0, 125.0, 155.0))


class Dice:
    """Uniform draws from one generator, used in the order of the code."""

    def __init__(self, rng: np.random.Generator, draws: int) -> None:
        self._draws = iter(rng.random(draws).tolist())  # one call for all: forty times the speed of one call each

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * next(self._draws)

    def chance(self, probability: float) -> bool:
        return next(self._draws) < probability

    def below(self, count: int) -> int:
        return int(next(self._draws) * count)

    def colour(self, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        return np.array([255.0 * self.between(low, high) for _ in range(3)])

    def blend(self, table: np.ndarray) -> np.ndarray:
        """Return a row (3,) of `table` (N, 3), or what lies between two neighbours."""
        row, share = divmod(self.between(0.0, len(table) - 1), 1.0)
        return table[int(row)] * (1.0 - share) + table[int(row) + 1] * share


def shade(colour: np.ndarray, share: float = 1.0) -> Colour:
    """Return `colour` (3,) made darker (`share` below 1) or lighter, as OpenCV wants it."""
    return tuple(np.minimum(colour * share, 255.0).tolist())


@dataclass(frozen=True)
class Person:
    """What stays when the expression changes; lengths in halves of the face's width."""

    skin: np.ndarray
    hair: np.ndarray
    hairdo: int  # 0 bald, 1 short, 2 long, 3 full
    iris: Colour
    eye_gap: float
    eye_width: float
    eye_size: float
    brow_height: float
    brow_width: float
    brow_colour: Colour
    mouth_y: float
    mouth_size: float
    lip_width: float
    beard: bool
    glasses: bool

    @classmethod
    def random(cls, dice: Dice) -> Person:
        skin, hair = dice.blend(_SKINS), _HAIRS[dice.below(len(_HAIRS))]
        return cls(
            skin=skin,
            hair=hair,
            hairdo=dice.below(4),
            iris=_IRISES[dice.below(len(_IRISES))],
            eye_gap=dice.between(0.37, 0.46),
            eye_width=dice.between(0.18, 0.23),
            eye_size=dice.between(0.9, 1.15),
            brow_height=dice.between(0.26, 0.32),
            brow_width=dice.between(0.025, 0.05),
            brow_colour=shade(np.minimum(hair, 0.75 * skin), dice.between(0.45, 0.8)),  # always seen against the skin
            mouth_y=dice.between(0.57, 0.67),
            mouth_size=dice.between(0.9, 1.1),
            lip_width=dice.between(0.035, 0.07),
            beard=dice.chance(0.1),
            glasses=dice.chance(0.15),
        )


def show(emotion: str, dice: Dice) -> dict[str, float]:
    """Return a value for every control of a face that shows `emotion`, strongly or faintly."""
    calm, moved = (
        dict.fromkeys(CONTROLS, 0.0) | {control: dice.between(*limits) for control, limits in EXPRESSIONS[name].items()}
        for name in ("neutral", emotion)
    )
    strength = dice.between(FAINTEST, 1.0)
    return {control: calm[control] + strength * (moved[control] - calm[control]) for control in CONTROLS}
