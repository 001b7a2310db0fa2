"""The difference in accuracy of two runs on the same images, its interval and McNemar's test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest, norm


class Difference(NamedTuple):
    """Accuracy of the one minus that of the other."""

    value: float  # in [-1, 1]
    low: float  # of its 95 % interval
    high: float
    p: float  # of McNemar's exact test, two-sided: how likely chance alone splits the disputed images as unevenly


def paired_difference(one: np.ndarray, other: np.ndarray) -> Difference:
    """Compare two runs image by image.

    Images that both have right, or both wrong, do not count. The interval is that of Agresti and Min (2005), which adds
    half an image to each kind, so that it has a width for two runs that always agree, too.

    Both are bool `(n,)`, whether an image is right, in the same order; a ValueError says if not, or without images.
    """
    if one.shape != other.shape or one.size == 0:
        raise ValueError(f"two runs on the same images are compared, got {one.shape} and {other.shape}")
    count, wins, losses = one.size, int((one & ~other).sum()), int((other & ~one).sum())
    p = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    more, centre = count + 2, (wins - losses) / (count + 2)
    disputed = (wins + losses + 1) / more
    margin = norm.ppf(0.975) * np.sqrt((disputed - centre**2) / more)
    low, high = max(-1.0, centre - margin), min(1.0, centre + margin)
    return Difference((wins - losses) / count, float(low), float(high), float(p))
