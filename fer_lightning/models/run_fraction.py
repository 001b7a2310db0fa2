"""How far a run has come, for whatever changes in the course of it; a resumed run agrees."""

from __future__ import annotations

import math

import lightning.pytorch as pl


def fraction_done(trainer: pl.Trainer) -> float:
    """Return the epochs before the current one as a fraction of the run's, in [0, 1); 0 for a run without an end.

    Where `max_steps` ends the run, the last epoch may be less than a whole one.
    """
    last, steps = trainer.max_epochs, trainer.max_steps
    epochs = math.inf if last in (None, -1) else float(last)
    if steps not in (None, -1):
        epochs = min(epochs, steps / math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))
    return trainer.current_epoch / epochs if trainer.current_epoch else 0.0
