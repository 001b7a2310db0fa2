"""The learning-rate range test (Smith, 2017): the rate grows from step to step while the loss is read."""

from __future__ import annotations

from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np

LOWEST, HIGHEST, STEPS = 1e-5, 10.0, 121  # 20 steps for each power of ten
_BLOWN_UP = 4  # times the lowest loss so far: the end of the test
_WIDTH = 5  # steps, standard deviation of the Gaussian that smooths the losses


class Found(NamedTuple):
    """What a range test came to."""

    rates: np.ndarray  # float (n,), `optimizer.lr` of each step
    losses: np.ndarray  # float (n,), of the batch of that step
    smooth: np.ndarray  # float (n,), the same without the noise of batches
    lr: float | None  # that of the lowest smooth loss, to two digits; None if no rate lowered the loss clearly


class RangeTest(pl.Callback):
    """Raises the rates of all groups of parameters, in their proportions, and notes the loss of each optimizer step.

    Args:
        base: `optimizer.lr` that the groups were made with.
    """

    def __init__(self, base: float) -> None:
        self.base = base
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._recent: list[float] = []  # losses since the last step
        self._proportions: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._proportions = [group["lr"] / self.base for group in trainer.optimizers[0].param_groups]

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        for group, proportion in zip(trainer.optimizers[0].param_groups, self._proportions, strict=True):
            group["lr"] = self._rate * proportion

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Lightning has divided it by the batches of a step, of which the last of an epoch may have fewer
        self._recent.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)
        if not trainer.fit_loop._should_accumulate():
            self.rates.append(self._rate)
            self.losses.append(float(np.mean(self._recent)))
            self._recent = []
            trainer.should_stop = bool(np.mean(self.losses[-3:]) > _BLOWN_UP * min(self.losses))

    @property
    def _rate(self) -> float:
        return float(LOWEST * (HIGHEST / LOWEST) ** (len(self.rates) / (STEPS - 1)))

    def evaluate(self) -> Found:
        """Return the rate of the lowest loss, which suits the peak of a schedule; a lower one suits no schedule."""
        return suggest(np.array(self.rates), np.array(self.losses))


def suggest(rates: np.ndarray, losses: np.ndarray) -> Found:
    """Return the rate of the lowest smooth loss.

    >>> rates = np.geomspace(1e-5, 10, 121)
    >>> suggest(rates, (np.log10(rates) + 3) ** 2).lr, suggest(rates, np.ones(121)).lr
    (0.001, None)
    """
    finite = np.isfinite(losses)
    rates, losses = rates[finite], losses[finite]
    if len(rates) < 2:
        return Found(rates, losses, losses, None)
    capped = np.minimum(losses, 2 * np.median(losses[:10]))  # what blows up would reach far back in the mean
    away = np.subtract.outer(np.arange(len(rates)), np.arange(len(rates)))
    weights = np.exp(-0.5 * (away / _WIDTH) ** 2)
    smooth = weights @ capped / weights.sum(axis=1)
    best = int(smooth.argmin())
    noise = np.std((capped - smooth)[: best + 1])
    clear = smooth[0] - smooth[best] > noise + 1e-6
    return Found(rates, losses, smooth, float(f"{rates[best]:.1e}") if clear else None)
