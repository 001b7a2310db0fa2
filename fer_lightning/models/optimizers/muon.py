"""Muon: momentum whose updates of matrices are made orthogonal (Jordan et al., 2024)."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from fer_lightning.core.choices import check_choices

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of Jordan's x → ax + bx³ + cx⁵, which lifts small singular values fast
MAX_STEPS = 6  # each multiplies errors of float32 by up to a² = 12


class Muon(Optimizer):
    """Muon for the weights of hidden layers, AdamW for everything else.

    A hidden weight is moved by `lr` times a matrix whose singular values are all about 1: its momentum, flattened to
    `(outputs, inputs · kernel height · kernel width)` and made orthogonal. torch's own Muon takes matrices only and no
    other parameters beside them; on matrices both agree.

    Args:
        params: parameters or groups of them. Groups with `use_muon: true` get Muon, with `false` AdamW. Of any others,
            and of bare parameters, those with two or more dimensions get Muon: name first and last layer apart.
        lr: learning rate of the hidden weights; with a scheduler, the highest.
        momentum: of the hidden weights, in [0, 1).
        nesterov: look one step ahead along the momentum.
        weight_decay: of the hidden weights, decoupled: each step takes `lr · weight_decay` of them away.
        ns_steps: Newton-Schulz iterations, 1 to 6. Jordan takes 5 for language models, 3 for convolutions.
        adjust_lr_fn: how an update grows with the shape of its matrix: `original`, √max(1, rows/columns); or
            `match_rms_adamw`, 0.2·√max(rows, columns), with which rates and decays of AdamW carry over (Liu et al.,
            2025). Named as in torch.
        adamw_lr, adamw_weight_decay, betas, eps, fused: of AdamW, for norms, biases, first and last layer.

    Raises:
        ValueError: an argument is out of its range.
    """

    splits_hidden = True  # parameter groups say which weights are hidden ones

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.01,
        ns_steps: int = 3,
        adjust_lr_fn: Literal["original", "match_rms_adamw"] = "original",
        adamw_lr: float = 1e-3,
        adamw_weight_decay: float = 0.05,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        fused: bool = True,
    ) -> None:
        check_choices(Muon.__init__, {"adjust_lr_fn": adjust_lr_fn})
        if lr < 0 or weight_decay < 0:
            raise ValueError(f"lr and weight_decay must be 0 or more, got {lr} and {weight_decay}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        if not 1 <= ns_steps <= MAX_STEPS:
            raise ValueError(f"ns_steps must be 1 to {MAX_STEPS}, got {ns_steps}")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        groups = list(_divided(params))
        others = [group for group in groups if not group["use_muon"]]
        options: dict[str, Any] = {"lr": adamw_lr, "weight_decay": adamw_weight_decay, "betas": tuple(betas)}
        unused = [torch.zeros(1, requires_grad=True)]  # checks the options, for there may be no others
        self._adamw = AdamW(others or unused, eps=eps, fused=fused, **options)
        hidden = [group for group in groups if group["use_muon"]]
        super().__init__([*hidden, *(self._adamw.param_groups if others else ())], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["use_muon"]:
                self._move(group)
        # in each step, for a checkpoint may have replaced both
        self._adamw.param_groups = [group for group in self.param_groups if not group["use_muon"]]
        self._adamw.state = self.state
        self._adamw.step()
        return loss

    def _move(self, group: dict[str, Any]) -> None:
        """Update the weights of a group that have gradients."""
        weights = [weight for weight in group["params"] if weight.grad is not None]
        updates = []
        for weight in weights:
            state, momentum = self.state[weight], group["momentum"]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(weight)
            average = state["momentum_buffer"].lerp_(weight.grad, 1 - momentum)
            update = weight.grad.lerp(average, momentum) if group["nesterov"] else average
            # which column stands where does not matter, and weights in channels_last lie in memory in this order
            updates.append(update.movedim(1, -1).flatten(1))
        for weight, update in zip(weights, orthogonalized(updates, group["ns_steps"]), strict=True):
            rows, columns = update.shape
            scale = math.sqrt(max(1, rows / columns))
            if group["adjust_lr_fn"] == "match_rms_adamw":
                scale = 0.2 * math.sqrt(max(rows, columns))
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(update.view(weight.movedim(1, -1).shape).movedim(-1, 1), alpha=-group["lr"] * scale)


def orthogonalized(matrices: Sequence[Tensor], steps: int) -> list[Tensor]:
    """Return matrices `(m, n)`, of any shapes, with singular values of about 1 (0.7…1.2) in place of their own.

    A Newton-Schulz step is X → (aI + bA + cA²)X with A = XXᵀ. These factors are powers of one A and commute, so that
    they are multiplied with each other, as small matrices `(k, k)` with k = min(m, n), and with the wide X only once:
    for convolutions, with n = 9m and more, a third of the work. Matrices of equal k go through it together. That takes
    full float32: A holds the squares of the singular values.
    """
    a, b, c = COEFFICIENTS
    wide = [(matrix.T if len(matrix) > matrix.shape[1] else matrix).float() for matrix in matrices]
    wide = [matrix / matrix.norm().clamp(min=1e-7) for matrix in wide]  # no singular value is above 1 then
    by_rows: dict[int, list[int]] = {}
    for number, matrix in enumerate(wide):
        by_rows.setdefault(len(matrix), []).append(number)
    with _exact_float32():
        for numbers in by_rows.values():
            gram = torch.stack([wide[number] @ wide[number].T for number in numbers])
            factors: list[Tensor] = []
            for step in range(steps):
                factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
                factor.diagonal(dim1=1, dim2=2).add_(a)
                factors.append(factor)
                if step < steps - 1:
                    gram = factor @ gram @ factor
            for number, whole in zip(numbers, functools.reduce(operator.matmul, factors), strict=True):
                wide[number] = whole @ wide[number]
    return [(new.T if new.shape != old.shape else new).to(old.dtype) for new, old in zip(wide, matrices, strict=True)]


def _divided(params: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield groups that say `use_muon`, in order; a group that does not is divided."""
    given = list(params)
    if given and not isinstance(given[0], dict):
        given = [{"params": given}]
    for group in given:
        if "use_muon" in group:
            yield dict(group)
            continue
        members = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        for use_muon in (True, False):
            if chosen := [member for member in members if (member.ndim >= 2) is use_muon]:
                yield {**group, "params": chosen, "use_muon": use_muon}


@contextmanager
def _exact_float32() -> Iterator[None]:
    """Multiply in full float32 within a block, where a run may have chosen TF32 or bf16."""
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        yield
    finally:
        torch.set_float32_matmul_precision(before)
