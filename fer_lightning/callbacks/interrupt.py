"""Ctrl-C that loses nothing."""

from __future__ import annotations

import signal
import threading
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only


class Interrupted(Exception):
    """The user pressed Ctrl-C; raised between two batches, so that what was trained can still be judged."""


class StopOnInterrupt(pl.Callback):
    """Turns the first Ctrl-C into `Interrupted` after the current batch; a second one ends the program at once.

    Ranks of a distributed run get the signal at different batches, so they agree before they leave.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._leave_if_asked(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._leave_if_asked(trainer)

    def _leave_if_asked(self, trainer: pl.Trainer) -> None:
        stop = self._asked
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            raise Interrupted

    def _ask(self, *_: Any) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        rank_zero_only(print)("\nstopping after this batch; Ctrl-C again to leave at once", flush=True)

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
