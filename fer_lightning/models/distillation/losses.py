"""Losses between the probabilities of a student and of its teachers, both softened by a temperature."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def soften(logits: Tensor, temperature: float) -> Tensor:
    """Return the probabilities of an ensemble, float32 `(B, K)`: the mean of each teacher's softmax(z / T).

    `logits` are float `(B, M, K)`, of M teachers.

    >>> soften(torch.tensor([[[0.0, 0.0], [0.0, 60.0]]]), temperature=1.0)
    tensor([[0.2500, 0.7500]])
    """
    return (logits.float() / temperature).softmax(dim=2).mean(dim=1)


def kd_loss(logits: Tensor, teachers: Tensor, temperature: float) -> Tensor:
    """Return KL(teachers ‖ student) as float32 `()`, averaged over the images (Hinton et al., 2015, "Distilling the
    Knowledge in a Neural Network").

    Args:
        logits: of the student, float `(B, K)`.
        teachers: probabilities at this temperature, float32 `(B, K)`; see `soften`.
        temperature: of both, positive.
    """
    return F.kl_div(_log_softmax(logits, temperature), teachers, reduction="batchmean")


def dkd_loss(logits: Tensor, teachers: Tensor, labels: Tensor, temperature: float, beta: float) -> Tensor:
    """Return TCKD + β·NCKD as float32 `()`, averaged over the images (Zhao et al., 2022, "Decoupled Knowledge
    Distillation").

    TCKD compares the label's class with all others, NCKD the others among themselves. `kd_loss` is TCKD +
    (1 - p)·NCKD, with the teachers' probability p of the label, so it learns little of the others where they are sure.

    Args:
        logits, teachers, temperature: as in `kd_loss`.
        labels: int64 `(B,)`.
        beta: β, 0 or more.
    """
    label = F.one_hot(labels, logits.shape[1]).bool()
    student, teacher = _log_softmax(logits, temperature), _log(teachers)
    tckd = _divergence(_label_or_not(student, label), _label_or_not(teacher, label))
    nckd = _divergence(_others(student, label), _others(teacher, label))
    return (tckd + beta * nckd).mean()


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    return (logits.float() / temperature).log_softmax(dim=1)


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


def _label_or_not(log_p: Tensor, label: Tensor) -> Tensor:
    """Return the logs of two probabilities, of the label and of all other classes together, `(B, 2)`."""
    others = log_p.masked_fill(label, -torch.inf).logsumexp(dim=1)
    return torch.stack([log_p.masked_fill(~label, 0.0).sum(dim=1), others], dim=1)


def _others(log_p: Tensor, label: Tensor) -> Tensor:
    """Return the logs of the probabilities of the other classes among themselves, `(B, K)`, and 0 for the label."""
    return log_p.masked_fill(label, -torch.inf).log_softmax(dim=1).masked_fill(label, 0.0)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return KL(teacher ‖ student) of log-probabilities `(B, n)`, as `(B,)`."""
    return (teacher.exp() * (teacher - student)).sum(dim=1)
