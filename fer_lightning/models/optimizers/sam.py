"""SAM: steps along the gradient of the worst weights nearby (Foret et al., 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import SGD, Optimizer


class SharpnessAware(Optimizer):
    """Another optimizer, whose gradients are those at w + ρ · g/‖g‖: uphill from the weights w along their gradient g.

    A step computes two gradients of its batch and takes twice the time. Both passes draw the same random numbers
    (dropout, mixup). With more than one process each gradient is the average over all of them.

    Args:
        optimizer: moves the weights; its groups and states are this one's.
        rho: length of the way uphill, over 0.
        adaptive: measure each weight's part of the way in units of that weight (ASAM, Kwon et al., 2021); `rho` is
            some ten times larger then.

    Raises:
        ValueError: `rho` is not positive.
    """

    def __init__(self, optimizer: Optimizer, rho: float, adaptive: bool) -> None:
        if rho <= 0:
            raise ValueError(f"rho must be positive, got {rho}")
        self.optimizer = optimizer
        self.second_pass: Callable[[], AbstractContextManager[None]] = nullcontext
        """Opens the context of the second pass, which should leave no trace in statistics and logs."""
        super().__init__(optimizer.param_groups, {**optimizer.defaults, "rho": rho, "adaptive": adaptive})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; `closure` computes loss and gradients, is called twice, and its first loss is returned.

        Raises:
            RuntimeError: there is no closure.
        """
        if closure is None:
            raise RuntimeError("SAM computes gradients twice in a step, and needs a closure for that")
        devices = {weight.device.index for group in self.param_groups for weight in group["params"] if weight.is_cuda}
        with torch.enable_grad(), torch.random.fork_rng(devices):  # after which the random numbers start again
            loss = closure()
        before = self._climb()
        with torch.enable_grad(), self.second_pass():
            closure()
        for weight, value in before.items():
            weight.copy_(value)
        # in each step, for a checkpoint may have replaced both
        self.optimizer.param_groups, self.optimizer.state = self.param_groups, self.state
        self.optimizer.step()
        return loss

    def _climb(self) -> dict[Tensor, Tensor]:
        """Move all weights uphill; return what they were."""
        moves: dict[Tensor, tuple[Tensor, float]] = {}  # T²g of each weight, and ρ; T is 1, or |w| where adaptive
        scaled = []  # Tg
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    unit = weight.abs() if group["adaptive"] else 1.0
                    scaled.append(weight.grad * unit)
                    moves[weight] = scaled[-1] * unit, group["rho"]
        norm = get_total_norm(scaled).clamp(min=1e-12)
        before = {weight: weight.clone() for weight in moves}
        for weight, (move, rho) in moves.items():
            weight.add_(move * (rho / norm))
        return before


class SAM(SharpnessAware):
    """SAM over SGD.

    Args:
        params: parameters or groups of them.
        rho, adaptive: see `SharpnessAware`.
        lr, momentum, nesterov, dampening, weight_decay, fused: of SGD.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        rho: float = 0.05,
        adaptive: bool = False,
        momentum: float = 0.9,
        nesterov: bool = True,
        dampening: float = 0.0,
        weight_decay: float = 5e-4,
        fused: bool = True,
    ) -> None:
        options: dict[str, Any] = {"nesterov": nesterov, "weight_decay": weight_decay, "fused": fused}
        super().__init__(SGD(params, lr, momentum, dampening, **options), rho, adaptive)
