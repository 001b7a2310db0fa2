"""Ctrl-C that loses nothing."""

from __future__ import annotations

import signal
import threading
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only

BATCHES_BETWEEN = 20


class Interrupted(Exception):
    """The user pressed Ctrl-C; raised between two batches, so that the model can still be scored."""


class StopOnInterrupt(pl.Callback):
    """Turns the first Ctrl-C into `Interrupted` after a batch; a second one ends the program at once.

    A single process leaves after the current batch. Ranks of a distributed run get the signal at different batches and
    must agree, which makes them wait: so only every `BATCHES_BETWEEN` batches and at the end of an epoch of training.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    # not on_fit_start: Lightning notes the handlers after that, and puts ours back when an error ends the run
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._leave_if_asked(trainer, (batch_idx + 1) % BATCHES_BETWEEN == 0 or trainer.is_last_batch)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self._leave_if_asked(trainer, (batch_idx + 1) % BATCHES_BETWEEN == 0)

    def _leave_if_asked(self, trainer: pl.Trainer, due: bool) -> None:
        stop = self._asked
        if trainer.world_size > 1:
            stop = due and trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            raise Interrupted

    def _ask(self, *_: Any) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        rank_zero_only(print)("\nstopping after a batch; Ctrl-C again to leave at once", flush=True)

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
