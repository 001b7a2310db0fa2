"""Losses for labels and for mixed labels, with classes weighted by how often they occur."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning.core.choices import check_choices

Scheme = Literal["none", "inverse", "sqrt", "effective"]


def class_weights(counts: Sequence[int], scheme: Scheme = "none", beta: float = 0.999) -> Tensor:
    """Return a weight for each class, float32 `(K,)`, whose mean over the counted images (not over the classes) is 1.

    That mean keeps the size of the loss, so a learning rate carries over from one scheme to another. A class of n
    images weighs, up to a common factor: `none` 1; `inverse` 1 / n, scikit-learn's "balanced"; `sqrt` 1 / √n;
    `effective` (1 - β) / (1 - β^n), the inverse of its effective number of samples (Cui et al., 2019, "Class-Balanced
    Loss Based on Effective Number of Samples").

    Args:
        counts: training images of each class, `(K,)`. A class without any weighs 0 (but 1 under `none`).
        scheme: `none`, `inverse`, `sqrt` or `effective`.
        beta: β of `effective`, in [0, 1); 1 would be `inverse`.

    Raises:
        ValueError: unknown scheme, β out of range, a negative count, or no image at all.

    >>> class_weights([30, 10], "inverse")
    tensor([0.6667, 2.0000])
    """
    check_choices(class_weights, {"scheme": scheme})
    if not 0 <= beta < 1:
        raise ValueError(f"beta must be in [0, 1), got {beta}")
    n = torch.as_tensor([float(count) for count in counts], dtype=torch.float64)
    if len(n) == 0 or n.min() < 0 or n.sum() == 0:
        raise ValueError(f"class_counts must be 0 or more for each class, with an image somewhere; got {list(counts)}")
    if scheme == "none":
        return torch.ones(len(n))
    size = {"inverse": n, "sqrt": n.sqrt(), "effective": (1 - beta**n) / (1 - beta)}[scheme]
    weights = torch.where(n > 0, 1 / size, 0.0)
    return (weights * n.sum() / (weights * n).sum()).float()


_weights_of = class_weights  # an argument of the losses has its name


class CrossEntropy(nn.Module):
    """Cross-entropy, averaged over the images of the batch.

    Dividing by the number of images, not by their summed weights as `torch.nn.CrossEntropyLoss` does for labels, makes
    the loss the same for labels and for one-hot targets, and independent of how a batch is cut into smaller ones or
    over ranks.

    Args:
        class_counts: training images of each class, `(K,)`.
        label_smoothing: fraction of the target spread evenly over the classes, in [0, 1).
        class_weights: scheme of `class_weights`: none, inverse, sqrt or effective.
        beta: β of `effective`, in [0, 1).

    Raises:
        ValueError: an argument is out of its range.
    """

    weight: Tensor

    def __init__(
        self,
        class_counts: Sequence[int],
        label_smoothing: float = 0.0,
        class_weights: Scheme = "none",
        beta: float = 0.999,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing
        # derived from the counts, so not stored with the weights
        self.register_buffer("weight", _weights_of(class_counts, class_weights, beta), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the float32 loss `()` of logits float `(B, K)`.

        The target is labels int64 `(B,)`, or probabilities float `(B, K)`, as mixup and cutmix make.
        """
        soft = target.float() if target.is_floating_point() else target
        losses = F.cross_entropy(  # in float32: a log-softmax in bf16 has two digits
            logits.float(), soft, weight=self.weight, label_smoothing=self.label_smoothing, reduction="none"
        )
        return losses.mean()


class FocalLoss(CrossEntropy):
    """Focal loss, averaged over the images of the batch: cross-entropy with less weight on easy images.

    -Σ_c t_c w_c (1 - p_c)^γ log p_c, which for a plain label y is the -w_y (1 - p_y)^γ log p_y of Lin et al., 2017,
    "Focal Loss for Dense Object Detection". γ = `gamma`, 0 or more; 0 is cross-entropy. The other arguments, inputs
    and errors are those of `CrossEntropy`.
    """

    def __init__(
        self,
        class_counts: Sequence[int],
        gamma: float = 2.0,
        class_weights: Scheme = "none",
        label_smoothing: float = 0.0,
        beta: float = 0.999,
    ) -> None:
        super().__init__(class_counts, label_smoothing, class_weights, beta)
        if gamma < 0:
            raise ValueError(f"gamma must be 0 or more, got {gamma}")
        self.gamma = gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        log_p = logits.float().log_softmax(dim=1)
        soft = target if target.is_floating_point() else F.one_hot(target, logits.shape[1])
        soft = soft.float() * (1 - self.label_smoothing) + self.label_smoothing / logits.shape[1]
        # expm1 keeps the digits of a small 1 - p; the floor keeps the slope of (1 - p)^γ finite at p = 1 when γ < 1
        missing = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).eps)
        return -(soft * self.weight * missing**self.gamma * log_p).sum(dim=1).mean()
