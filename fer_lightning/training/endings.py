"""Why a training ended."""

from __future__ import annotations

import signal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, Timer


def why_ended(trainer: pl.Trainer, number: int = 0) -> str:
    """Return one line on what ended the training of a Trainer; `number` is that of the signal that did, or 0."""
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning's, unannotated
    step, epoch = trainer.global_step, trainer.current_epoch
    if number:
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        return f"interrupted by {name} in epoch {epoch + 1}, after step {step}"
    for callback in callbacks:
        left = callback.time_remaining() if isinstance(callback, Timer) else None
        if left is not None and left <= 0:
            return f"the time of trainer.max_time was over in epoch {max(1, epoch)}, after step {step}"
        if isinstance(callback, EarlyStopping) and trainer.should_stop and callback.stopped_epoch > 0:
            epochs = f"{callback.patience} epoch{'s' * (callback.patience != 1)}"
            waited = callback.wait_count >= callback.patience
            why = f"{callback.monitor} was not better for {epochs}" if waited else f"{callback.monitor} reached a limit"
            return f"early stopping after epoch {callback.stopped_epoch + 1}: {why}"
    if trainer.max_steps != -1 and step >= trainer.max_steps:
        return f"trainer.max_steps={trainer.max_steps} reached in epoch {epoch}"
    if trainer.max_epochs not in (None, -1) and epoch >= trainer.max_epochs:
        return f"trainer.max_epochs={trainer.max_epochs} reached"
    return f"stopped after epoch {epoch}, step {step}"
