"""Whether an exported model gives the probabilities of its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fer_lightning.core.errors import UserError, first_lines
from fer_lightning.inference.export.trained import Classify

TOLERANCE = 1e-4  # largest difference of a probability
ROUNDED = 5e-3  # the same, of weights that are stored in two bytes: they differ by up to a 2048th
BATCHES = (1, 2, 7)  # sizes that come first: some exporters fix the size of a batch without a word
BATCH = 32  # and the size of the others


@dataclass(frozen=True)
class Comparison:
    """The largest difference of a probability, and for how many of the images both name one label."""

    difference: float
    agreed: int
    count: int
    tolerance: float = TOLERANCE

    def __str__(self) -> str:
        share = f"{self.agreed / self.count:.2%}".replace(".00", "").replace("%", " %")
        return f"largest difference of a probability {self.difference:.1e}, the same label for {share}"

    @property
    def equal(self) -> bool:
        # of rounded weights, a label may differ where the two most probable are as close as the tolerance
        return self.difference <= self.tolerance and (self.agreed == self.count or self.tolerance > TOLERANCE)


def compare(exported: Classify, original: Classify, images: np.ndarray, tolerance: float = TOLERANCE) -> Comparison:
    """Run both on images uint8 `(n, C, S, S)`, the exported model in batches of several sizes.

    Raises:
        UserError: the exported model fails, or gives another shape.
    """
    expected = np.concatenate([original(part) for part in _batches(images, ())])
    try:
        found = np.concatenate([exported(part) for part in _batches(images, BATCHES)])
    except Exception as error:  # whatever a runtime raises
        raise UserError(f"the exported model does not run ({first_lines(error)})") from error
    if found.shape != expected.shape:
        raise UserError(f"the exported model gives {found.shape}, its checkpoint {expected.shape}")
    difference = float(np.abs(found - expected).max())  # NaN, too, is not within the tolerance
    return Comparison(difference, int((found.argmax(1) == expected.argmax(1)).sum()), len(images), tolerance)


def _batches(images: np.ndarray, sizes: tuple[int, ...]) -> list[np.ndarray]:
    bounds = np.cumsum((0, *sizes))
    first = np.split(images, bounds[(bounds > 0) & (bounds < len(images))])
    return [*first[:-1], *np.split(first[-1], range(BATCH, len(first[-1]), BATCH))]
