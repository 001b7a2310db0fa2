"""Learning-rate schedules that know how many steps a run has, and how Lightning is to call them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

from fer_lightning.core.choices import check_choices
from fer_lightning.core.errors import ConfigError

Mode = Literal["max", "min"]


def cosine_with_warmup(
    optimizer: Optimizer, total_steps: int, warmup: float = 0.05, final: float = 0.0, until: float = 1.0
) -> LambdaLR:
    """Rise in a line to each group's learning rate, then fall along half a cosine (Loshchilov & Hutter, 2017).

    Args:
        optimizer: its groups' learning rates are the peaks.
        total_steps: optimizer steps of the run, 1 or more; afterwards the rate stays at its last value.
        warmup: fraction of the steps spent rising, in [0, 1).
        final: last learning rate as a fraction of the peak, in [0, 1].
        until: fraction of the steps after which it has fallen, and stays, in (`warmup`, 1].

    Raises:
        ValueError: an argument is out of its range.
    """
    _check_total_steps(total_steps)
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup is a fraction of the steps in [0, 1), got {warmup}")
    if not 0 <= final <= 1:
        raise ValueError(f"final is a fraction of the learning rate in [0, 1], got {final}")
    if not warmup < until <= 1:
        raise ValueError(f"until is a fraction of the steps in ({warmup}, 1], above warmup, got {until}")
    end = max(1, round(until * total_steps))
    rise = min(round(warmup * total_steps), end - 1)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)  # not 0, which would waste the first batch
        progress = min(1.0, (step - rise) / (end - rise))
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)


class OneCycle(OneCycleLR):
    """torch's one-cycle schedule, except that a resumed run keeps its own number of steps.

    torch restores the old number, so that continuing with more epochs ends in "Tried to step … times".
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = ("total_steps", "_schedule_phases")
        super().load_state_dict({name: value for name, value in state_dict.items() if name not in own})


def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    cycle_momentum: bool = False,
) -> OneCycle:
    """Rise along a cosine to each group's own learning rate, then fall to almost 0 (Smith & Topin, 2018).

    Args:
        optimizer: its groups' learning rates are the peaks.
        total_steps: optimizer steps of the run, 1 or more.
        pct_start: fraction of the steps spent rising, in [0, 1).
        div_factor, final_div_factor: first learning rate = peak / `div_factor`, last = first / `final_div_factor`.
        cycle_momentum: also move momentum (or β₁) between 0.95 and 0.85, against the learning rate.

    Raises:
        ValueError: an argument is out of its range.
    """
    _check_total_steps(total_steps)
    if not 0 <= pct_start < 1:
        raise ValueError(f"pct_start is a fraction of the steps in [0, 1), got {pct_start}")
    if div_factor <= 0 or final_div_factor <= 0:
        raise ValueError(f"div_factor and final_div_factor must be positive, got {div_factor} and {final_div_factor}")
    if pct_start * total_steps == 1:
        pct_start *= 1 + 1e-9  # torch divides by pct_start · total_steps - 1
    peaks = [group["lr"] for group in optimizer.param_groups]
    factors: Any = {"div_factor": div_factor, "final_div_factor": final_div_factor}
    return OneCycle(optimizer, peaks, total_steps, pct_start=pct_start, cycle_momentum=cycle_momentum, **factors)


def plateau(
    optimizer: Optimizer,
    mode: Mode = "max",
    factor: float = 0.5,
    patience: int = 3,
    min_lr: float = 1e-6,
    threshold: float = 1e-4,
    cooldown: int = 0,
    monitor: str | None = None,
) -> ReduceLROnPlateau:
    """Multiply the learning rates by `factor` when the monitored value has not improved for `patience` epochs.

    Args:
        optimizer: what it acts on.
        mode: whether `max` or `min` of the monitored value is better.
        factor, patience: in (0, 1), and 0 or more.
        min_lr: no learning rate falls below it.
        threshold: smallest relative change that counts as an improvement.
        cooldown: epochs after a cut in which none is counted.
        monitor: name of the logged value; `scheduler_config` reads it, torch's schedule does not.

    Raises:
        ValueError: an argument is out of its range.
    """
    check_choices(plateau, {"mode": mode})
    if not 0 < factor < 1:
        raise ValueError(f"factor must be in (0, 1), got {factor}")
    if patience < 0 or min_lr < 0:
        raise ValueError(f"patience and min_lr must be 0 or more, got {patience} and {min_lr}")
    return ReduceLROnPlateau(optimizer, mode, factor, patience, threshold, cooldown=cooldown, min_lr=min_lr)


def scheduler_config(
    make: Callable[..., Any], optimizer: Optimizer, *, total_steps: float, monitor: str | None, mode: Mode = "max"
) -> dict[str, Any]:
    """Make a schedule and say how Lightning is to step it: Lightning's `lr_scheduler` dictionary.

    Args:
        make: any of the above or of `torch.optim.lr_scheduler`, perhaps a `partial`. If it takes `total_steps` it gets
            the run's (unless already given one) and steps every batch; all others step every epoch.
        optimizer: what it acts on.
        total_steps: optimizer steps of the run; `inf` for a run without an end.
        monitor, mode: logged value that a plateau schedule watches and `max` or `min` of it, unless it has its own.

    Raises:
        ConfigError: the schedule lacks an argument, the run has no end, or there is nothing to watch.
        ValueError: an argument of the schedule is out of its range.
    """
    known = inspect.signature(make).parameters
    given = getattr(make, "keywords", {})  # of a partial
    name = getattr(getattr(make, "func", make), "__name__", str(make))
    filled: dict[str, Any] = {}
    if "total_steps" in known and given.get("total_steps") is None:
        if not math.isfinite(total_steps):
            hint = "type trainer.max_epochs=20, or scheduler=none"
            raise ConfigError(f"scheduler={name} must know where the run ends; {hint}")
        filled["total_steps"] = int(total_steps)
    if {"mode", "patience"} <= known.keys() and given.get("mode") is None:  # CyclicLR's `mode` means something else
        filled["mode"] = mode
    try:
        schedule = make(optimizer, **filled)
    except TypeError as error:
        raise ConfigError(f"scheduler={name} cannot be made: {error}") from error
    config = {"scheduler": schedule, "interval": "step" if "total_steps" in known else "epoch", "frequency": 1}
    if isinstance(schedule, ReduceLROnPlateau):
        monitor = given.get("monitor") or monitor
        if monitor is None:
            raise ConfigError(f"scheduler={name} needs a value to watch; type monitor=val/loss mode=min")
        config |= {"monitor": monitor, "strict": False}  # a run may end before its first validation
    return config


def _check_total_steps(total_steps: int) -> None:
    if total_steps < 1:
        raise ValueError(f"total_steps must be 1 or more, got {total_steps}")
