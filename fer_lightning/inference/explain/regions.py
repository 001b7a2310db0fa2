"""How much of a heat map lies on which part of a face.

The parts are fixed rectangles, drawn on the average face of each class of FER-2013's training images, whose eyes lie at
0.37 of the height and whose mouth at 0.68 to 0.92. That suits faces that are cut out alike, and only on average: heads
that are turned or tilted have their eyes elsewhere, and raised brows reach into the forehead.
"""

from __future__ import annotations

import numpy as np

Rectangle = tuple[float, float, float, float]
# top, bottom, left, right, as fractions of the face's side; none overlaps another
REGIONS: dict[str, Rectangle] = {
    "forehead": (0.00, 0.22, 0.20, 0.80),
    "brows": (0.22, 0.32, 0.15, 0.85),
    "eyes": (0.32, 0.44, 0.15, 0.85),
    "nose": (0.44, 0.68, 0.36, 0.64),
    "mouth": (0.68, 0.92, 0.25, 0.75),
}
REST = "rest"  # cheeks, chin, hair and background
PARTS = (*REGIONS, REST)


def shares(heat_maps: np.ndarray) -> np.ndarray:
    """Return how much of each map lies in each part.

    Args:
        heat_maps: float `(B, S, S)`, 0 or more.

    Returns:
        float64 `(B, 6)`, in the order of `PARTS`; rows sum to 1, or are NaN for a map that is 0 everywhere. To be
        compared with `areas`, which an even map has.

    >>> dict(zip(PARTS, shares(np.eye(48)[None])[0].round(2).tolist()))
    {'forehead': 0.02, 'brows': 0.1, 'eyes': 0.12, 'nose': 0.2, 'mouth': 0.07, 'rest': 0.49}
    """
    maps = np.asarray(heat_maps, np.float64)
    total = maps.sum(axis=(1, 2))[:, None]
    inside = np.einsum("bij,rij->br", maps, _masks(maps.shape[-1]))
    return np.asarray(np.divide(inside, total, out=np.full(inside.shape, np.nan), where=total > 0))


def areas() -> dict[str, float]:
    """Return the fraction of the square that each part covers."""
    covered = {name: (bottom - top) * (right - left) for name, (top, bottom, left, right) in REGIONS.items()}
    return {**covered, REST: 1 - sum(covered.values())}


def _masks(side: int) -> np.ndarray:
    """Return how far each part covers each pixel, float64 `(6, side, side)` in [0, 1]."""
    edges = np.arange(side)

    def covered(low: float, high: float) -> np.ndarray:
        return np.asarray(np.clip(np.minimum(edges + 1, high * side) - np.maximum(edges, low * side), 0, 1))

    named = [np.outer(covered(top, bottom), covered(left, right)) for top, bottom, left, right in REGIONS.values()]
    return np.stack([*named, 1 - np.sum(named, axis=0)])
