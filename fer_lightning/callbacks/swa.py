"""Stochastic weight averaging."""

from __future__ import annotations

import logging
import math
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only

from fer_lightning.callbacks.averaged_weights import AveragedWeights
from fer_lightning.core.errors import ConfigError
from fer_lightning.models.batch_norm import recompute_statistics
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.run_fraction import run_epochs

log = logging.getLogger(__name__)


class SWA(AveragedWeights):
    """Validates and saves the mean of the weights after each of the last epochs (SWA; Izmailov et al., 2018).

    It wants a learning rate that stays up in these epochs, as that of `scheduler=swa` does, or one that is low at the
    end of every `every_n_epochs` of them. Statistics of batch normalisation are recomputed for the mean, on training
    images without augmentation (up to 10,000), before it is validated or saved; a LightningModule of the user's own
    keeps the mean of its statistics. Before `start`, the latest weights are validated and saved.

    Lightning's StochasticWeightAveraging validates and saves the latest weights until the last epoch, replaces the
    schedule, and trains for an epoch more.

    Args:
        start: fraction of the run's epochs after which weights are averaged, in [0, 1).
        every_n_epochs: average after every so many epochs, the last whole one included; 1 or more.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, start: float = 0.75, every_n_epochs: int = 1) -> None:
        if not 0 <= start < 1:
            raise ValueError(f"start is a fraction of the run's epochs in [0, 1), got {start}")
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be 1 or more, got {every_n_epochs}")
        super().__init__()
        self.start, self.every_n_epochs = start, every_n_epochs
        self._stale = False  # whether the statistics are of other weights than the mean

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return False  # Lightning asks after the validation of an epoch, which is too late

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if math.isinf(run_epochs(trainer)):
            raise ConfigError("callbacks.swa.start depends on the run's length: type trainer.max_epochs=20")

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.is_last_batch and self._is_due(trainer):
            if self.average.n_averaged == 0:
                rank_zero_only(log.info)(f"epoch {trainer.current_epoch + 1}: weights are averaged from here on")
            self.average.update_parameters(pl_module)
            self._stale = True

    def _is_due(self, trainer: pl.Trainer) -> bool:
        done, epochs = trainer.current_epoch + 1, run_epochs(trainer)
        return done / epochs > self.start and (math.floor(epochs) - done) % self.every_n_epochs == 0

    def prepare(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        super().prepare(trainer, module)
        if self._stale and isinstance(module, ExpressionClassifier):
            data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning's, unannotated
            mean: Any = self.average.module
            with trainer.precision_plugin.forward_context():
                recompute_statistics(mean, data.training_sample())
        self._stale = False
