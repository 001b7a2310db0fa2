"""Silences messages that libraries print at every start, whatever the run is, and spares TensorFlow's import."""

from __future__ import annotations

import logging
import sys
import types
import warnings

LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",  # tips
    "lightning.pytorch.accelerators.cuda",
    "matplotlib.font_manager",  # "generated new fontManager" on a machine's first run
)
WARNINGS = (
    "does not have many workers",  # on a CPU, loading in the training process is faster
    "number of training batches",  # fewer than `log_every_n_steps` on small data
    "exists and is not empty",  # a resumed run writes into its own folder
    "`srun` command is available",  # on a login node, from where sweeps are submitted
    "LeafSpec",  # Lightning with a newer torch
)


def silence_libraries() -> None:
    """Silence messages that do not concern this run; call it before the libraries are imported."""
    # TensorBoard's own switch: where TensorFlow is installed, it would import it, which takes seconds and prints
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)  # that it makes what is not there
    for text in WARNINGS:
        warnings.filterwarnings("ignore", f".*{text}.*")
