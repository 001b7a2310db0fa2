"""What every average of the weights has in common."""

from __future__ import annotations

import itertools
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import nn
from torch.optim.swa_utils import AveragedModel


class AveragedWeights(WeightAveraging):
    """Lightning's WeightAveraging, which validates and saves an average; the optimizer goes on from the latest weights.

    Here the average is on the device of the run, where Lightning puts it on the CPU, and before the first update it is
    the latest weights, where Lightning validates and saves those of the beginning.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._device is None:
            self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:  # torch asks it at each update, and would wait for the device
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    @property
    def average(self) -> AveragedModel:
        """The average, whose `n_averaged` counts the updates; from `setup` on."""
        assert self._average_model is not None
        return self._average_model

    def prepare(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Make the average fit for use: called before it is validated or saved, and at the end."""
        if self.average.n_averaged == 0:
            with torch.no_grad():
                for ours, latest in zip(_tensors(self.average.module), _tensors(module), strict=True):
                    ours.copy_(latest)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._average_model is not None:
            self.prepare(trainer, pl_module)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._average_model is not None:
            self.prepare(trainer, pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.prepare(trainer, pl_module)
        super().on_train_end(trainer, pl_module)


def _tensors(module: nn.Module) -> itertools.chain[torch.Tensor]:
    return itertools.chain(module.parameters(), module.buffers())
