"""Prunes a trial that does worse than others of its study, which it reads from the storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl

from fer_lightning.core.errors import StorageError
from fer_lightning.runs.status import Pruned
from fer_lightning.system.resources import is_job


class PruneTrial(pl.Callback):
    """Reports the score of each epoch to the trial, and raises `Pruned` before the next one if the pruner says so.

    By then, the epoch's checkpoint and history are written; a trial is not pruned after its last epoch. Only rank zero
    uses the storage. Does nothing outside the jobs of a sweep, or with several objectives, which Optuna cannot prune.

    Args:
        pruner: one of Optuna's.
        monitor: score to report; the study's direction says which end is better.
        storage: URL of the study's storage.
        study: its name.
        trial: number of the trial; None for no trial.
        objectives: of the study; None for the monitor.
    """

    def __init__(
        self,
        pruner: Any,
        monitor: str,
        storage: str | None = None,
        study: str = "train",
        trial: int | None = None,
        objectives: Sequence[str] | None = None,
    ) -> None:
        self.pruner, self.monitor, self.url, self.study, self.trial = pruner, monitor, storage or "", study, trial
        self.active = is_job() and None not in (trial, storage) and objectives in (None, [monitor])
        self._validated, self._pruned = False, ""  # why it is pruned
        self._opened: tuple[Any, Any, int] | None = None  # storage, study, and id of the trial in it

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = not trainer.sanity_checking

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._pruned:
            raise Pruned(self._pruned)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        stale = self.monitor.startswith("val/") and not self._validated
        value = trainer.callback_metrics.get(self.monitor)
        self._validated = False
        if not self.active or stale or value is None:
            return
        prune, problem = False, ""
        if trainer.is_global_zero:
            try:
                prune = self._should_prune(trainer.current_epoch + 1, float(value))
            except StorageError as error:  # raised in all ranks, or the others would wait for this one
                problem = str(error)
        prune, problem = trainer.strategy.broadcast((prune, problem))
        if problem:
            raise StorageError(problem)
        if prune:
            kind = type(self.pruner).__name__.removesuffix("Pruner").lower()
            self._pruned = f"after epoch {trainer.current_epoch + 1}, {self.monitor} {float(value):.4g} ({kind})"

    def _should_prune(self, epoch: int, value: float) -> bool:
        """Report the score of an epoch, unless it has been reported, and return whether to prune the trial."""
        import optuna

        from fer_lightning.sweeps.study import open_storage, storage_errors

        with storage_errors(self.url):
            if self._opened is None:
                storage = open_storage(self.url)
                study = optuna.load_study(study_name=self.study, storage=storage)
                study_id = storage.get_study_id_from_name(self.study)
                self._opened = storage, study, storage.get_trial_id_from_study_id_trial_number(study_id, self.trial)
            storage, study, trial_id = self._opened
            trial = storage.get_trial(trial_id)
            if trial.state.is_finished():  # its sweep has ended it
                return False
            if epoch not in trial.intermediate_values:
                storage.set_trial_intermediate_value(trial_id, epoch, value)
            return bool(self.pruner.prune(study, storage.get_trial(trial_id)))
