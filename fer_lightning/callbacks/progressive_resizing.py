"""Smaller images at the beginning of a training."""

from __future__ import annotations

import logging
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_only

from fer_lightning.core.errors import ConfigError, first_lines
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.network import evaluating
from fer_lightning.models.run_fraction import fraction_done

log = logging.getLogger(__name__)
_KEY = "callbacks.progressive_resizing"


class ProgressiveResizing(pl.Callback):
    """Trains on small images first, which cost less, and on larger ones later (fast.ai, 2018; Tan & Le, 2021).

    The side grows from `start_size` in steps of `step` pixels, for equally many epochs each, and is the network's own
    from the fraction `until` of the run on. Augmented images are resized on the device, bilinear with antialiasing.
    Validation and everything after training see full size, at which a network that was trained on smaller images does
    worse (Touvron et al., 2019), so the scores of the first epochs are low. The size depends on the epoch alone.

    Args:
        start_size: pixels a side at first; None trains on full size throughout.
        until: fraction of the run's epochs from which on images have full size, in [0, 1].
        step: pixels a side from one size to the next, 1 or more.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, start_size: int | None = None, until: float = 0.7, step: int = 8) -> None:
        if not 0 <= until <= 1:
            raise ValueError(f"until is a fraction of the run's epochs in [0, 1], got {until}")
        if step < 1 or (start_size is not None and start_size < 1):
            raise ValueError(f"step and start_size must be 1 or more, got step={step}, start_size={start_size}")
        self.start_size, self.until, self.step = start_size, until, step
        self._sizes: list[int] = []  # one after the other
        self._said: int | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Try each size once; a ConfigError if the network cannot take it."""
        if self.start_size is None or stage != "fit":
            return
        if not isinstance(pl_module, ExpressionClassifier):
            kind = type(pl_module).__name__
            raise ConfigError(f"{_KEY} cannot resize the images of {kind}: type {_KEY}.start_size=null")
        image, network = pl_module.hparams["image_size"], pl_module.hparams["input_size"]
        full: int = image if network is None else network
        if self.start_size >= full:
            smaller = max(1, (full - 1) // self.step * self.step)
            raise ConfigError(
                f"{_KEY}.start_size={self.start_size} must be less than the {full} pixels a side that the network "
                f"sees: type {_KEY}.start_size={smaller}"
            )
        self._sizes = [*range(self.start_size, full, self.step), full]
        wrong = {size: error for size in self._sizes if (error := _refusal(pl_module, size))}
        if wrong:
            size, error = next(iter(wrong.items()))
            possible = next((other for other in range(max(wrong), full) if _refusal(pl_module, other) is None), "null")
            backbone = pl_module.hparams["backbone"]
            cure = f"type {_KEY}.start_size={possible}"
            raise ConfigError(f"{_KEY}: {backbone} cannot take images of {size} pixels a side ({error}): {cure}")

    def size(self, fraction: float) -> int:
        """Return the pixels a side at a fraction of the run, after `setup`."""
        if fraction >= self.until:
            return self._sizes[-1]
        return self._sizes[int(fraction / self.until * (len(self._sizes) - 1) + 1e-9)]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._resize(trainer, pl_module)  # also of a run that is resumed within an epoch, whose start is not called

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._resize(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if self._sizes:
            pl_module.pixels.training_size = None

    def _resize(self, trainer: pl.Trainer, module: Any) -> None:
        if not self._sizes:
            return
        size = self.size(fraction_done(trainer))
        module.pixels.training_size = size
        if size != self._said:
            self._said = size
            says = f"epoch {trainer.current_epoch + 1}: training images of {size} pixels a side from here on"
            rank_zero_only(log.info)(says)


def _refusal(module: ExpressionClassifier, size: int) -> str | None:
    """Return why the network of a module cannot take images of a size; None if it can."""
    with evaluating(module.backbone) as device:
        pixels = torch.zeros(2, module.hparams["channels"], size, size, device=device)
        try:
            module.backbone.forward(pixels)  # not by calling it, which might compile it
        except Exception as error:  # networks fail in many ways here
            return first_lines(error)
    return None
