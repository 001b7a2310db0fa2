"""The difference in accuracy of two runs on the same images, its interval and McNemar's test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest, norm


class Difference(NamedTuple):
    """Accuracy of the one minus that of the other.

    Attributes:
        value: in [-1, 1].
        low: of its 95 % interval.
        high: of its 95 % interval.
        p: of McNemar's exact test, two-sided: how likely chance alone splits the disputed images as unevenly.
    """

    value: float
    low: float
    high: float
    p: float


def paired_difference(one: np.ndarray, other: np.ndarray) -> Difference:
    """Compare two runs image by image.

    Images that both have right, or both wrong, do not count. The interval is that of Agresti and Min (2005), which adds
    half an image to each kind, so that it has a width for two runs that always agree, too.

    Args:
        one: bool `(n,)`, the image is right.
        other: bool `(n,)`, of the same images in the same order.

    Raises:
        ValueError: the shapes differ, or there is no image.
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
