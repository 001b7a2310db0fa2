"""Means over an epoch's training images, kept on the device: nothing waits for a number until somebody reads it."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class RunningMean(Metric):
    """Mean over images, and over all ranks.

    torchmetrics' own MeanMetric looks for NaN in each value and spreads weights: several operations a step, where a
    small network has few.
    """

    total: Tensor
    count: Tensor
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")
        self._before: tuple[Tensor | float, Tensor | float] = (0.0, 0.0)

    def update(self, total: Tensor, count: int) -> None:
        """Add some images: the sum of their values, a detached scalar, and how many they are."""
        self.total += total
        self.count += count

    def compute(self) -> Tensor:
        """Return the mean since the last reset, float `()`."""
        return self.total / self.count

    def recent(self) -> Tensor:
        """Return the mean since this was last asked for, float `()`, of this rank alone."""
        total, count = self._before
        self._before = (self.total.clone(), self.count.clone())
        return (self.total - total) / (self.count - count)

    def reset(self) -> None:
        super().reset()
        self._before = (0.0, 0.0)
