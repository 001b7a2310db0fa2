"""A callback that ends the program as soon as the weights have been changed once."""

from __future__ import annotations

import os
from typing import Any

import lightning.pytorch as pl


class LeaveAfterFirstStep(pl.Callback):
    """Leaves without tidying up, so that a watch outside reads how long the program took to its first step.

    Not at the end of the batch, where other callbacks come first and draw it.
    """

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.optimizers[0].register_step_post_hook(lambda *_: os._exit(0))
