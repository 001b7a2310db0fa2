"""Losses, accuracies and macro-F1, kept on the device: nothing waits for a number until it is read."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix


class RunningMean(Metric):
    """Mean over images, and over all ranks; NaN if one of them is.

    torchmetrics' own MeanMetric looks for NaN in each value and spreads weights: several operations a step, where a
    small network has few.
    """

    total: Tensor
    count: Tensor
    total_before: Tensor
    count_before: Tensor
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("total_before", torch.zeros(()), dist_reduce_fx="sum")  # when `recent` was last asked for
        self.add_state("count_before", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, total: Tensor, count: int) -> None:
        """Add some images: the sum of their values, a detached scalar, and how many they are."""
        self.total += total
        self.count += count

    def compute(self) -> Tensor:
        """Return the mean since the last reset, float `()`."""
        return self.total / self.count

    def recent(self) -> Tensor:
        """Return the mean since this was last asked for, float `()`, of this rank alone."""
        total, count = self.total_before, self.count_before
        self.total_before, self.count_before = self.total.clone(), self.count.clone()
        return (self.total - total) / (self.count - count)


class SplitScores(nn.Module):
    """What `val/` and `test/` scores of K = `num_classes` classes are computed from, summed over ranks."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.confusion = MulticlassConfusionMatrix(num_classes=num_classes, validate_args=False)
        self.mean_loss = RunningMean()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits float `(B, K)`, labels int64 `(B,)`."""
        # plain cross-entropy whatever was trained on, so that runs compare; summed, so that the mean is exact over
        # ranks and last batches
        self.mean_loss.update(F.cross_entropy(logits, labels, reduction="sum"), len(labels))
        self.confusion.update(logits, labels)

    def compute(self) -> dict[str, Tensor]:
        """Return `loss`, `acc` and `f1_macro`, float32 `()` each."""
        counts = self.confusion.compute().double()
        correct, either = counts.diagonal(), counts.sum(0) + counts.sum(1)
        f1 = 2 * correct[either > 0] / either[either > 0]  # classes neither present nor predicted have no F1
        scores = {"loss": self.mean_loss.compute(), "acc": correct.sum() / counts.sum(), "f1_macro": f1.mean()}
        return {name: value.float() for name, value in scores.items()}

    def reset(self) -> None:
        self.confusion.reset()
        self.mean_loss.reset()
