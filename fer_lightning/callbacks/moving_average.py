"""The exponential moving average of the weights."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fer_lightning.callbacks.averaged_weights import AveragedWeights
from fer_lightning.core.errors import ConfigError


class MovingAverage(AveragedWeights, EMAWeightAveraging):
    """Validates and saves an exponential moving average of the weights.

    Each update keeps the fraction `decay` of the average, which therefore remembers 1 / (1 - `decay`) updates. With
    `horizon` the memory is that fraction of the run's steps instead, so that it suits a run of another length. After t
    updates no more than (1 + t) / (10 + t) is kept (as in TensorFlow and timm), or the average would hold the random
    weights of the beginning for long, and early validations would say nothing.

    Means and variances of batch normalisation are averaged as the weights are, so that they fit them; counts of
    batches are those of the latest weights. Without that (`use_buffers=false`) they would be of other weights.

    Args:
        decay: in [0, 1).
        horizon: in (0, 1], in place of `decay`; None uses `decay`.
        warmup: keep less at first, as above.
        update_every_n_steps: optimizer steps from one update to the next, 1 or more.
        options: of Lightning's EMAWeightAveraging: `device`, `use_buffers`, `update_starting_at_step`, …

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        decay: float = 0.999,
        horizon: float | None = None,
        warmup: bool = True,
        update_every_n_steps: int = 1,
        **options: Any,
    ) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay is the fraction of the average that is kept, in [0, 1), got {decay}")
        if horizon is not None and not 0 < horizon <= 1:
            raise ValueError(f"horizon is a fraction of the run's steps in (0, 1], got {horizon}")
        super().__init__(decay=decay, update_every_n_steps=update_every_n_steps, **options)
        self._kwargs = {"multi_avg_fn": self._update}  # in place of Lightning's, which knows one decay only
        self.decay, self.horizon, self.warmup = decay, horizon, warmup
        self._steps = math.nan  # of the run

    def kept(self, updates: int) -> float:
        """Return the fraction of the average that the next update keeps after `updates` of them, in [0, 1)."""
        decay = self.decay
        if self.horizon is not None:
            decay = max(0.0, 1 - self.update_every_n_steps / (self.horizon * self._steps))
        return min(decay, (1 + updates) / (10 + updates)) if self.warmup else decay

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._steps = float(trainer.estimated_stepping_batches)
        if self.horizon is not None and math.isinf(self._steps):
            raise ConfigError("callbacks.ema.horizon depends on the run's length: type trainer.max_epochs=20")

    def _update(self, averages: Any, current: Any, _: Any) -> None:
        """Update tensors of one dtype and device, in place."""
        average: Tensor = averages[0]
        if average.is_floating_point():
            updates = int(self.average.n_averaged)
            update: Any = get_ema_multi_avg_fn(self.kept(updates))  # type: ignore[no-untyped-call]  # torch's
            update(averages, current, updates)
        else:  # counts, of which an average would be rounded
            for average, latest in zip(averages, current, strict=True):
                average.copy_(latest)
