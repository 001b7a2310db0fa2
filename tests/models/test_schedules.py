"""Schedules against torch's own, step by step, with two groups of parameters, and after resuming."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from fer_lightning.core.errors import ConfigError
from fer_lightning.models.schedules import OneCycle, cosine_with_warmup, one_cycle, plateau, scheduler_config

RATES = [0.1, 0.003]


def make_optimizer(cls: type[torch.optim.Optimizer] = torch.optim.SGD, **kwargs: float) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in RATES]
    return cls(groups, lr=1.0, **kwargs)


def run(schedule: LRScheduler, steps: int) -> list[list[float]]:
    """Return the learning rates that each of `steps` optimizer steps uses, and those left at the end."""
    rates = []
    for _ in range(steps):
        rates.append([group["lr"] for group in schedule.optimizer.param_groups])
        schedule.optimizer.step()
        schedule.step()
    return [*rates, [group["lr"] for group in schedule.optimizer.param_groups]]


def close(ours: list[list[float]], theirs: list[list[float]]) -> None:
    torch.testing.assert_close(torch.tensor(ours, dtype=torch.float64), torch.tensor(theirs, dtype=torch.float64))


@pytest.mark.parametrize("final", [0.0, 0.01])
def test_cosine_without_warmup_is_torchs(final: float) -> None:
    ours = run(cosine_with_warmup(make_optimizer(), 40, warmup=0.0, final=final), 40)
    for group, rate in enumerate(RATES):  # torch's last rate is one number for all groups, ours a share of each
        theirs = run(lr_scheduler.CosineAnnealingLR(make_optimizer(), T_max=40, eta_min=final * rate), 40)
        close([[step[group]] for step in ours], [[step[group]] for step in theirs])


def test_cosine_with_warmup_is_torchs_line_and_cosine() -> None:
    optimizer = make_optimizer()
    theirs = lr_scheduler.SequentialLR(
        optimizer,
        [
            lr_scheduler.LinearLR(optimizer, start_factor=1 / 11, total_iters=10),
            lr_scheduler.CosineAnnealingLR(optimizer, T_max=30),
        ],
        milestones=[10],
    )
    close(run(cosine_with_warmup(make_optimizer(), 40, warmup=0.25), 40), run(theirs, 40))


def test_cosine_peaks_at_each_groups_rate_and_stays_at_the_end() -> None:
    rates = run(cosine_with_warmup(make_optimizer(), 100, warmup=0.1, final=0.05), 120)
    assert [max(step[group] for step in rates) for group in (0, 1)] == RATES
    assert min(step[0] for step in rates) > 0  # no step is wasted
    assert rates[100] == rates[120] == pytest.approx([0.05 * rate for rate in RATES])


def test_cosine_can_end_early_and_stay() -> None:
    rates = run(cosine_with_warmup(make_optimizer(), 100, warmup=0.1, final=0.2, until=0.75), 100)
    shorter = run(cosine_with_warmup(make_optimizer(), 75, warmup=10 / 75, final=0.2), 75)
    close(rates[:76], shorter[:76])
    assert rates[75] == rates[100] == pytest.approx([0.2 * rate for rate in RATES])


@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("momentum", [False, True])
def test_one_cycle_is_torchs(cls: type[torch.optim.Optimizer], momentum: bool) -> None:
    kwargs = {"momentum": 0.9} if cls is torch.optim.SGD else {}
    ours = one_cycle(make_optimizer(cls, **kwargs), 50, pct_start=0.2, cycle_momentum=momentum)
    options = {"max_lr": RATES, "total_steps": 50, "pct_start": 0.2, "cycle_momentum": momentum}
    theirs = lr_scheduler.OneCycleLR(make_optimizer(cls, **kwargs), **options)
    rates = run(ours, 49)
    close(rates, run(theirs, 49))
    assert [max(step[group] for step in rates) for group in (0, 1)] == pytest.approx(RATES, rel=1e-2)
    assert rates[0] == pytest.approx([rate / 25 for rate in RATES])
    assert rates[-1] == pytest.approx([rate / 25 / 1e4 for rate in RATES])


def test_one_cycle_leaves_momentum_alone_unless_told() -> None:
    optimizer = make_optimizer(momentum=0.9)
    run(one_cycle(optimizer, 10), 10)
    assert optimizer.param_groups[0]["momentum"] == 0.9


@pytest.mark.parametrize("make", [cosine_with_warmup, one_cycle])
@pytest.mark.parametrize("total", [1, 2, 3, 5])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.25, 0.5])
def test_the_shortest_runs_work(make: Callable[..., LRScheduler], total: int, share: float) -> None:
    share_name = "warmup" if make is cosine_with_warmup else "pct_start"
    rates = run(make(make_optimizer(), total, **{share_name: share}), total)  # 0.2 · 5 = 1 divides by 0 in torch's own
    assert all(math.isfinite(rate) and rate >= 0 for step in rates for rate in step)
    assert rates[0][0] > 0


@pytest.mark.parametrize("make", [cosine_with_warmup, one_cycle])
def test_resuming_goes_on_where_it_stopped(make: Callable[..., LRScheduler], tmp_path) -> None:
    whole = run(make(make_optimizer(), 40), 40)
    first = make(make_optimizer(), 40)
    run(first, 17)
    torch.save({"optimizer": first.optimizer.state_dict(), "scheduler": first.state_dict()}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    optimizer = make_optimizer()
    second = make(optimizer, 40)
    optimizer.load_state_dict(state["optimizer"])
    second.load_state_dict(state["scheduler"])
    close(run(second, 23), whole[17:])


@pytest.mark.parametrize("make", [cosine_with_warmup, one_cycle])
def test_a_run_can_be_made_longer(make: Callable[..., LRScheduler]) -> None:
    first = make(make_optimizer(), 20)
    run(first, 20)
    optimizer = make_optimizer()
    second = make(optimizer, 40)
    optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    close(run(second, 20)[1:], run(make(make_optimizer(), 40), 40)[21:])


def test_plateau_is_torchs() -> None:
    values = [0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    ours = plateau(make_optimizer(), mode="max", factor=0.1, patience=2, min_lr=1e-3)
    theirs = lr_scheduler.ReduceLROnPlateau(make_optimizer(), mode="max", factor=0.1, patience=2, min_lr=1e-3)
    seen = []
    for value in values:
        ours.step(value)
        theirs.step(value)
        rates = [[group["lr"] for group in schedule.optimizer.param_groups] for schedule in (ours, theirs)]
        assert rates[0] == rates[1]
        seen.append(rates[0][0])
    assert seen[3] == 0.1
    assert seen[4] == pytest.approx(0.01)  # the third epoch that does not better 0.6
    assert seen[-1] == pytest.approx(0.001)  # at the floor


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (cosine_with_warmup, {"total_steps": 0}, "total_steps must be 1 or more"),
        (cosine_with_warmup, {"total_steps": 9, "warmup": 1.0}, "warmup is a fraction"),
        (cosine_with_warmup, {"total_steps": 9, "warmup": 500}, "warmup is a fraction"),
        (cosine_with_warmup, {"total_steps": 9, "until": 0.05}, "until is a fraction"),
        (cosine_with_warmup, {"total_steps": 9, "until": 1.5}, "until is a fraction"),
        (cosine_with_warmup, {"total_steps": 9, "final": -0.1}, "final is a fraction"),
        (one_cycle, {"total_steps": 0}, "total_steps must be 1 or more"),
        (one_cycle, {"total_steps": 9, "pct_start": 1.0}, "pct_start is a fraction"),
        (one_cycle, {"total_steps": 9, "div_factor": 0}, "div_factor"),
        (plateau, {"factor": 1.0}, "factor must be in"),
        (plateau, {"patience": -1}, "patience"),
        (plateau, {"mode": "most"}, "mode"),
    ],
)
def test_bad_arguments_are_refused(make: Callable[..., LRScheduler], options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(make_optimizer(), **options)


RUN = {"total_steps": 30, "monitor": "val/acc", "mode": "max"}


@pytest.mark.parametrize("make", [cosine_with_warmup, partial(one_cycle, pct_start=0.1)])
def test_schedules_that_know_their_end_step_every_batch(make: Callable[..., LRScheduler]) -> None:
    config = scheduler_config(make, make_optimizer(), **RUN)
    assert config["interval"] == "step"
    assert "monitor" not in config
    run(config["scheduler"], 29)
    assert config["scheduler"].optimizer.param_groups[0]["lr"] < 0.01 * RATES[0]


def test_torchs_own_one_cycle_gets_the_steps_too() -> None:
    config = scheduler_config(partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=None), make_optimizer(), **RUN)
    assert (config["interval"], config["scheduler"].total_steps) == ("step", 30)


def test_a_total_given_by_hand_is_kept() -> None:
    config = scheduler_config(partial(one_cycle, total_steps=77), make_optimizer(), **RUN)
    assert isinstance(config["scheduler"], OneCycle)
    assert config["scheduler"].total_steps == 77


@pytest.mark.parametrize("make", [plateau, lr_scheduler.ReduceLROnPlateau])
def test_plateau_watches_the_monitored_value(make: Callable[..., LRScheduler]) -> None:
    config = scheduler_config(make, make_optimizer(), **RUN)
    assert (config["interval"], config["monitor"], config["scheduler"].mode) == ("epoch", "val/acc", "max")
    config = scheduler_config(partial(make, mode="min"), make_optimizer(), **RUN)
    assert config["scheduler"].mode == "min"  # as it was set


def test_plateau_may_watch_a_value_of_its_own() -> None:
    config = scheduler_config(partial(plateau, monitor="val/loss", mode="min"), make_optimizer(), **RUN)
    assert (config["monitor"], config["scheduler"].mode) == ("val/loss", "min")
    config = scheduler_config(partial(plateau, monitor=None, mode=None), make_optimizer(), **RUN)
    assert (config["monitor"], config["scheduler"].mode) == ("val/acc", "max")


@pytest.mark.parametrize(
    "make",
    [
        partial(lr_scheduler.StepLR, step_size=5),
        partial(lr_scheduler.CosineAnnealingLR, T_max=20),
        partial(lr_scheduler.CyclicLR, base_lr=0.1, max_lr=0.2),  # its `mode` is no max or min
    ],
)
def test_other_schedules_step_every_epoch(make: Callable[..., LRScheduler]) -> None:
    config = scheduler_config(make, make_optimizer(momentum=0.9), **RUN)
    assert config["interval"] == "epoch"
    assert "monitor" not in config


@pytest.mark.parametrize(
    ("make", "facts", "message"),
    [
        (plateau, {"monitor": None}, "scheduler=plateau needs a value to watch; type monitor=val/loss"),
        (
            one_cycle,
            {"total_steps": math.inf},
            "scheduler=one_cycle must know where the run ends; type trainer.max_epochs",
        ),
        (lr_scheduler.StepLR, {}, "scheduler=StepLR cannot be made.*step_size"),
    ],
)
def test_schedules_that_cannot_be_made_say_why(make: Callable[..., LRScheduler], facts: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        scheduler_config(make, make_optimizer(), **(RUN | facts))
