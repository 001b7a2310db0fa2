"""The batch size that trains fastest: powers of two, until larger batches are no faster or do not fit into memory."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
import torch

from fer_lightning.core.memory_errors import is_out_of_memory, release_memory
from fer_lightning.training.trial import Trial

SMALLEST, STEPS_OF_EPOCH = 16, 32  # the largest leaves so many steps to an epoch
_AS_FAST = 0.95  # of the fastest
_WARM_UP, _BATCHES, _SECONDS = 2, 3, 1.0  # batches before the clock starts; what it runs for at the least


class Speed(pl.Callback):
    """Measures the images a second of a Trainer whose weights stay as they are."""

    def __init__(self) -> None:
        self.images_a_second: float | None = None
        self._batches, self._images, self._started = 0, 0, 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        if self._batches < _WARM_UP:
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        if self._batches == _WARM_UP:
            self._started = time.perf_counter()
            return
        self._images += len(batch[0])
        spent = time.perf_counter() - self._started
        self.images_a_second = self._images / spent
        trainer.should_stop = self._batches >= _WARM_UP + _BATCHES and spent >= _SECONDS


def search(trial: Trial) -> dict[int, float]:
    """Return the images a second of each batch size that was tried; none if even the smallest does not fit."""
    largest = max(SMALLEST, len(trial.data.rows("train")) // STEPS_OF_EPOCH)
    speeds: dict[int, float] = {}
    size = SMALLEST
    while size <= largest and not _slows(speeds):
        trial.data.batch_size, speed = size, Speed()
        try:
            trial.train(speed, max_steps=1000)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            largest = size // 2
        release_memory()
        if speed.images_a_second is not None and size <= largest:
            speeds[size] = speed.images_a_second
        size *= 2
    return speeds


def choose(speeds: dict[int, float]) -> int:
    """Return the smallest batch size that is about as fast as any: small batches make more steps of an epoch.

    >>> choose({16: 300.0, 32: 500.0, 64: 690.0, 128: 700.0, 256: 640.0})
    64
    """
    return min(size for size, speed in speeds.items() if speed >= _AS_FAST * max(speeds.values()))


def _slows(speeds: dict[int, float]) -> bool:
    """Return whether the last two doublings have gained nothing."""
    values = [*speeds.values()]
    return len(values) > 2 and max(values[-2:]) * _AS_FAST < max(values[:-2])
