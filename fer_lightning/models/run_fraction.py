"""How far a run has come, for whatever changes in the course of it; a resumed run agrees."""

from __future__ import annotations

import math

import lightning.pytorch as pl


def run_epochs(trainer: pl.Trainer) -> float:
    """Return how many epochs a run has, perhaps with a part of one where `max_steps` ends it; inf for no end."""
    last, steps = trainer.max_epochs, trainer.max_steps
    epochs = math.inf if last in (None, -1) else float(last)
    if steps not in (None, -1):
        epochs = min(epochs, steps / math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))
    return epochs


def fraction_done(trainer: pl.Trainer) -> float:
    """Return the epochs before the current one as a fraction of the run's, in [0, 1); 0 for a run without an end."""
    return trainer.current_epoch / run_epochs(trainer) if trainer.current_epoch else 0.0
