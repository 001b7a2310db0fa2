"""A callback that ends the program as soon as it has trained one batch."""

from __future__ import annotations

import os
from typing import Any

import lightning.pytorch as pl


class LeaveAfterFirstStep(pl.Callback):
    """Leaves without tidying up, so that a watch outside reads how long the program took to its first step."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        os._exit(0)
