"""The progress bar."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import TQDMProgressBar

_PAUSE = 0.2  # seconds between two looks at the metrics: each makes the program wait for the GPU


class ProgressBar(TQDMProgressBar):
    """Lightning's bar, on a terminal; a log file gets the line per epoch that `History` writes, and no bar."""

    def __init__(self) -> None:
        super().__init__(leave=False)
        self.on_terminal = sys.stderr.isatty()
        self._drawn = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if not self.on_terminal:
            self.disable()

    def enable(self) -> None:  # Lightning's learning rate finder does, after its own steps
        if self.on_terminal:
            super().enable()

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        super().on_train_start(trainer, *_)
        if trainer.fit_loop.restarted_mid_epoch:  # for which Lightning does not call the start of the epoch
            self.on_train_epoch_start(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        super().on_train_epoch_start(trainer, *_)
        last = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}{last}")  # counted as in history.csv

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        last = batch_idx + 1 >= self.total_train_batches
        if self.is_enabled and (last or time.monotonic() - self._drawn >= _PAUSE):
            self._drawn = time.monotonic()
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)  # a run folder of its own makes version numbers meaningless
        loss = trainer.callback_metrics.get("train/loss_step")
        return metrics if loss is None else {**metrics, "train/loss_step": loss.item()}
