"""Randomness of a step that is a function of where the step stands, not of what came before."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch


class ReseedSteps(pl.Callback):
    """Seeds dropout and mixup by (seed, epoch, batch, rank): a resumed run draws what an unbroken one would."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        key = np.random.SeedSequence((self.seed, trainer.current_epoch, batch_idx, trainer.global_rank))
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0] >> 1))
