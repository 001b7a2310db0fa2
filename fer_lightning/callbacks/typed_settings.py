"""Settings of a continued run win over those that its checkpoint would restore."""

from __future__ import annotations

import inspect
import logging
import warnings
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only
from torch.optim.lr_scheduler import ReduceLROnPlateau

log = logging.getLogger(__name__)
_PROGRESS = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")  # of a plateau schedule
_FOLLOWS = ("lr_lambdas", "base_lrs", "total_steps", "_schedule_phases")  # from other settings, and is not restored
_PEAKS = ("max_lr", "initial_lr", "lr")  # of a group of parameters: the first that there is


class TypedSettings(pl.Callback):
    """Changes what a checkpoint restores where a setting is another one now.

    torch restores learning rate, weight decay, momentum and the arguments of a schedule with their states, Lightning
    the patience of early stopping; so what was typed for a continued run would be recorded and not used.

    - Options of the optimizer replace the restored ones. Another optimizer starts without a state.
    - With another learning rate or schedule, the rate is what it would be at this step had the run begun with it. A
      plateau schedule keeps what it counted, and its cuts.
    - Arguments of callbacks stay as they are now.
    """

    def __init__(self) -> None:
        self._checkpoint: dict[str, Any] | None = None
        self._made: dict[str, Any] = {}  # optimizer and schedule as they were before the first step
        self._arguments: list[tuple[pl.Callback, dict[str, Any]]] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning's, unannotated
        for callback in callbacks:
            names = inspect.signature(type(callback).__init__).parameters.keys() & vars(callback).keys()
            self._arguments.append((callback, {name: getattr(callback, name) for name in names}))

    def on_load_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._checkpoint = checkpoint
        for callback, _ in self._arguments:
            monitor = getattr(callback, "monitor", None)
            if monitor is not None and callback.state_key not in checkpoint.get("callbacks", {}):
                rank_zero_only(log.info)(f"{type(callback).__name__} watches {monitor} anew, from here on")
        if trainer.optimizers:  # strategies that restore late
            self._settle(trainer)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._settle(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for callback, arguments in self._arguments:
            vars(callback).update(arguments)
        self._arguments = []

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["made_with"] = self._made

    def _settle(self, trainer: pl.Trainer) -> None:
        """Note how optimizer and schedule were made, and change the state that will be restored."""
        if len(trainer.optimizers) != 1:  # a module of the user's own
            return
        optimizer, configs = trainer.optimizers[0], trainer.lr_scheduler_configs
        schedule = configs[0].scheduler if configs else None
        if not self._made:
            groups = [_options(group) for group in optimizer.param_groups]
            self._made = {"optimizer": type(optimizer).__name__, "groups": groups, "schedule": None, "state": {}}
            if schedule is not None:
                self._made |= {"schedule": type(schedule).__name__, "state": dict(schedule.state_dict())}
        if self._checkpoint is None or not self._checkpoint.get("optimizer_states"):
            return
        checkpoint, self._checkpoint = self._checkpoint, None
        schedules = checkpoint["lr_schedulers"]
        before = checkpoint.get("made_with") or _guess(checkpoint["optimizer_states"][0], schedules, self._made)
        same = self._settle_options(trainer, checkpoint, before)
        kept, now = checkpoint["optimizer_states"][0].get("param_groups", []), self._made["groups"]
        rates = [[_peak(group) for group in groups] for groups in (before["groups"], now)]
        if same and rates[0] == rates[1] and not _differ(before, self._made):
            return
        if schedule is None:
            for group, new in zip(kept, now, strict=True):
                group["lr"] = new["lr"]
        elif isinstance(schedule, ReduceLROnPlateau):
            fresh, old = dict(schedule.state_dict()), (schedules or [{}])[0]
            counted = before["schedule"] == self._made["schedule"] and before["state"].get("mode") == fresh["mode"]
            cuts = [group["lr"] / rate for group, rate in zip(kept, rates[0], strict=True)] if counted and same else []
            for number, (group, rate) in enumerate(zip(kept, rates[1], strict=True)):
                group["lr"] = rate * (cuts[number] if cuts else 1)
            checkpoint["lr_schedulers"] = [fresh | ({name: old[name] for name in _PROGRESS} if counted else {})]
        else:
            _step_again(schedule, checkpoint, interval=configs[0].interval)
            for group, new in zip(kept, optimizer.param_groups, strict=True):
                group.update(_options(new))
            checkpoint["lr_schedulers"] = [schedule.state_dict()]
        peak, name = rates[1][0], self._made["schedule"] or "no schedule"
        starts = kept[0]["lr"] if kept else peak
        rank_zero_only(log.info)(f"the learning rate is {starts:g} from here on (optimizer.lr={peak:g}, {name})")

    def _settle_options(self, trainer: pl.Trainer, checkpoint: dict[str, Any], before: dict[str, Any]) -> bool:
        """Change the options of the optimizer but its rates; return whether the optimizer is still the same."""
        optimizer, kept = trainer.optimizers[0], checkpoint["optimizer_states"][0]["param_groups"]
        layout = [len(group["params"]) for group in kept] == [len(group["params"]) for group in optimizer.param_groups]
        if layout and before["optimizer"] == self._made["optimizer"]:
            for group, old, new in zip(kept, before["groups"], self._made["groups"], strict=True):
                names = new.keys() - {*_PEAKS, "min_lr"}
                changed = {name: new[name] for name in names if _plain(old.get(name)) != _plain(new[name])}
                group.update(changed)
                for name, value in changed.items():
                    rank_zero_only(log.info)(f"optimizer.{name} is {value} from here on, was {old.get(name)}")
            return True
        name = self._made["optimizer"] if layout else "the optimizer"
        why = f"the checkpoint was written by {before['optimizer']}" if layout else "it has other parameters"
        rank_zero_only(log.info)(f"{name} starts without a state: {why}")
        checkpoint["optimizer_states"][0] = trainer.strategy.optimizer_state(optimizer)
        return False


def _step_again(schedule: Any, checkpoint: dict[str, Any], interval: str) -> None:
    """Step a new schedule as often as the run had when the checkpoint was written."""
    done = checkpoint["global_step"]
    if interval == "epoch":
        done = checkpoint["loops"]["fit_loop"]["epoch_progress"]["total"]["processed"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch misses steps of the optimizer
        for _ in range(min(done, getattr(schedule, "total_steps", done))):
            schedule.step()


def _options(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def _peak(group: dict[str, Any]) -> float:
    return float(next(group[name] for name in _PEAKS if name in group))


def _plain(value: Any) -> Any:
    return [*value] if isinstance(value, tuple) else value


def _differ(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Return whether a schedule is another one, or made with other arguments that its state would overwrite."""
    if before["schedule"] != now["schedule"]:
        return True
    names = [name for name in now["state"] if name not in _FOLLOWS and not name.startswith("_")]
    return any(before["state"].get(name) != now["state"][name] for name in names)


def _guess(state: dict[str, Any], schedules: list[dict[str, Any]], now: dict[str, Any]) -> dict[str, Any]:
    """Return how a checkpoint of an earlier version, which does not say so, was made; equal to `now` where unknown."""
    groups = [_options(group) for group in state["param_groups"]]
    scheduled = {*_PEAKS, "min_lr"}
    alike = groups[0].keys() - scheduled == now["groups"][0].keys() - scheduled
    known = bool(schedules) == bool(now["schedule"]) and (not schedules or schedules[0].keys() == now["state"].keys())
    return {
        "optimizer": now["optimizer"] if alike else "another optimizer",
        "groups": groups,
        "schedule": now["schedule"] if known else "another schedule",
        "state": now["state"] if known else {},
    }
