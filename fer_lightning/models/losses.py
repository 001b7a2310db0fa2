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

    def soft_target(self, target: Tensor, classes: int) -> Tensor:
        """Return the smoothed target as probabilities float32 `(B, K)`, for one of the kinds that `forward` takes."""
        soft = target if target.is_floating_point() else F.one_hot(target, classes)
        return soft.float() * (1 - self.label_smoothing) + self.label_smoothing / classes


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
        soft = self.soft_target(target, logits.shape[1])
        # expm1 keeps the digits of a small 1 - p; the floor keeps the slope of (1 - p)^γ finite at p = 1 when γ < 1
        missing = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).eps)
        return -(soft * self.weight * missing**self.gamma * log_p).sum(dim=1).mean()


class LogitAdjustedLoss(CrossEntropy):
    """Cross-entropy of logits + τ log π for class priors π, averaged over the images of the batch.

    Of Menon et al., 2021, "Long-Tail Learning via Logit Adjustment", equation 10: the plain logits of a network trained
    so rank classes as if all were equally frequent, which favours balanced accuracy over accuracy. τ = `tau`, 0 or
    more; 0 is cross-entropy. π are the fractions of the training images; a class without any counts as one image. The
    other arguments, inputs and errors are those of `CrossEntropy`; it weighs no classes, which would adjust twice.
    """

    adjustment: Tensor

    def __init__(self, class_counts: Sequence[int], tau: float = 1.0, label_smoothing: float = 0.0) -> None:
        super().__init__(class_counts, label_smoothing)
        if tau < 0:
            raise ValueError(f"tau must be 0 or more, got {tau}")
        counts = torch.as_tensor([float(count) for count in class_counts]).clamp_min(1)
        self.register_buffer("adjustment", tau * (counts / counts.sum()).log(), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().forward(logits.float() + self.adjustment, target)


class GeneralisedCrossEntropy(CrossEntropy):
    """Generalised cross-entropy, averaged over the images of the batch, for labels of which some are wrong.

    Σ_c t_c w_c (1 - p_c^q) / q, which for a plain label is the L_q loss of Zhang & Sabuncu, 2018, "Generalized Cross
    Entropy Loss for Training Deep Neural Networks with Noisy Labels". `q` is in (0, 1]: near 0 it is cross-entropy, 1
    is the mean absolute error, which tolerates most and learns slowest. The other arguments, inputs and errors are
    those of `CrossEntropy`.
    """

    def __init__(
        self,
        class_counts: Sequence[int],
        q: float = 0.7,
        class_weights: Scheme = "none",
        label_smoothing: float = 0.0,
        beta: float = 0.999,
    ) -> None:
        super().__init__(class_counts, label_smoothing, class_weights, beta)
        if not 0 < q <= 1:
            raise ValueError(f"q must be in (0, 1], got {q}")
        self.q = q

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        log_p = logits.float().log_softmax(dim=1)
        losses = -torch.expm1(self.q * log_p) / self.q  # keeps the digits that 1 - p^q loses for a small q
        return (self.soft_target(target, logits.shape[1]) * self.weight * losses).sum(dim=1).mean()


class SymmetricCrossEntropy(CrossEntropy):
    """Cross-entropy and its reverse, averaged over the images of the batch, for labels of which some are wrong.

    α H(t, p) + β H(p, t) of Wang et al., 2019, "Symmetric Cross Entropy for Robust Learning with Noisy Labels", where
    the logarithm of a target is at least A. For a plain label the reverse is -A (1 - p_y), the mean absolute error. An
    image weighs Σ_c t_c w_c. The other arguments, inputs and errors are those of `CrossEntropy`.

    Args:
        forward_weight, reverse_weight: α and β, 0 or more.
        log_zero: A, below 0.
    """

    def __init__(
        self,
        class_counts: Sequence[int],
        forward_weight: float = 0.1,
        reverse_weight: float = 1.0,
        log_zero: float = -4.0,
        class_weights: Scheme = "none",
        label_smoothing: float = 0.0,
        beta: float = 0.999,
    ) -> None:
        super().__init__(class_counts, label_smoothing, class_weights, beta)
        if forward_weight < 0 or reverse_weight < 0 or forward_weight + reverse_weight == 0:
            given = f"forward_weight={forward_weight} and reverse_weight={reverse_weight}"
            raise ValueError(f"forward_weight and reverse_weight must be 0 or more and not both 0, got {given}")
        if not log_zero < 0:
            raise ValueError(f"log_zero must be below 0, got {log_zero}")
        self.forward_weight, self.reverse_weight, self.log_zero = forward_weight, reverse_weight, log_zero

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        log_p, soft = logits.float().log_softmax(dim=1), self.soft_target(target, logits.shape[1])
        forward, reverse = (soft * log_p).sum(dim=1), (log_p.exp() * soft.log().clamp_min(self.log_zero)).sum(dim=1)
        weights = (soft * self.weight).sum(dim=1)
        return -(weights * (self.forward_weight * forward + self.reverse_weight * reverse)).mean()
