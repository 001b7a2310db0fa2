"""Continuing from any checkpoint gives what an unbroken run would."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging
from torchmetrics import Metric


class ExactResume(pl.Callback):
    """Completes what Lightning 2.6 stores of a run, and what it restores.

    Alone, it starts an epoch again at its first batch where a schedule asks for the number of steps; omits the
    validation that was due after the batch of a checkpoint, and the end of the epoch after the last batch; forgets the
    averages of the epoch so far and the scores of earlier validations; loses an epoch where `max_steps` is given, and
    the rest of an epoch in which `max_steps` or `max_time` ended the run.
    The private attributes of its loops that are used here are those of its progress tracking.
    """

    def __init__(self) -> None:
        self._validated = False  # since the last batch
        self._scores: dict[str, float] = {}
        self._averages: dict[str, dict[str, Any]] = {}

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        self._validated = False

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._validated = True

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        loops = checkpoint["loops"]["fit_loop"]
        progress, loop = loops["epoch_progress"], trainer.fit_loop
        epoch = progress["current"]
        if epoch["processed"] > epoch["completed"] and not loop.epoch_loop._num_ready_batches_reached():
            for counts in progress.values():  # max_steps or max_time ended it: with a higher limit, it goes on within
                counts["processed"] -= 1
        within = epoch["started"] > epoch["processed"]
        scores = {name: value.item() for name, value in trainer.callback_metrics.items()}
        averages = {name: _state(metric) for name, metric in _metrics(module).items()} if within else {}
        checkpoint["exact_resume"] = {"scores": scores, "averages": averages}
        if within and loop._data_fetcher is not None:
            validates = not self._validated and loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
            _note_what_follows(loops, validates)

    def on_load_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        known = checkpoint.get("exact_resume", {})  # not in a checkpoint of an earlier version
        self._scores, self._averages = known.get("scores", {}), known.get("averages", {})

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        loop = trainer.fit_loop
        # Lightning does so only if it makes the loader after the checkpoint is read
        loop._load_combined_loader_states()
        if loop.restarted_on_epoch_end:  # only with max_steps: otherwise Lightning begins an epoch
            loop.epoch_progress.increment_completed()
            loop.reset_restart_stage()
            loop.epoch_loop.restarting = False
        elif loop.restarted_mid_epoch:  # for which Lightning does not call the start of the epoch
            callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning's, unannotated
            for callback in callbacks:
                if isinstance(callback, StochasticWeightAveraging):
                    callback.on_train_epoch_start(trainer, module)
        known = trainer._logger_connector._callback_metrics
        known.update({name: torch.tensor(value, device=module.device) for name, value in self._scores.items()})
        for name, metric in _metrics(module).items():
            metric.reset()  # Lightning does at the end of an epoch, which an interrupted run did not reach
            for part, value in self._averages.get(name, {}).items() if trainer.is_global_zero else ():
                setattr(metric, part, value.to(metric.device))  # the sums over all ranks
                metric._update_count = 1
        self._scores, self._averages = {}, {}


def _note_what_follows(loops: dict[str, Any], validates: bool) -> None:
    """Change the progress of a checkpoint after a batch, so that the validation or the end of the epoch follows."""
    batches = loops["epoch_loop.batch_progress"]
    if validates:  # what Lightning takes for a validation that was broken off: it is done anew
        progress = loops["epoch_loop.val_loop.batch_progress"]
        progress["total"] |= {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        progress["current"] |= {"ready": 0, "started": 0, "processed": 0, "completed": 0}
    open_batch = batches["current"]["completed"] < batches["current"]["processed"]
    if open_batch and (validates or batches["is_last_batch"]):
        for counts in (batches["total"], batches["current"]):
            counts["completed"] = counts["processed"]
        if not validates:  # nothing follows that would count the step
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] += 1


def _metrics(module: pl.LightningModule) -> dict[str, Metric]:
    return {name: part for name, part in module.named_modules() if isinstance(part, Metric)}


def _state(metric: Metric) -> dict[str, Any]:
    """Return the state of a metric, summed over ranks."""
    with metric.sync_context():
        state = {name: getattr(metric, name) for name in metric._defaults}
        return {name: value.detach().clone() for name, value in state.items() if isinstance(value, torch.Tensor)}
