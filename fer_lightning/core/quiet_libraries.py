"""Silences what libraries print at every start and report to their makers, and spares TensorFlow's import."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import types
import warnings
from typing import Any

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
TELEMETRY = {  # variables by which libraries are asked to report nothing to their makers
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime from 1.29 on, of every model that it opens
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}


def stop_telemetry() -> None:
    """Ask libraries to report nothing of their use, unless the user has said otherwise; call it before their import."""
    for name, value in TELEMETRY.items():
        os.environ.setdefault(name, value)


def import_onnxruntime(module: str = "onnxruntime") -> Any:
    """Return onnxruntime, or one of its modules, which reports nothing; an ImportError where it is not installed."""
    stop_telemetry()
    return importlib.import_module(module)


def silence_libraries() -> None:
    """Silence messages that do not concern this run, and reports; call it before the libraries are imported."""
    stop_telemetry()
    # TensorBoard's own switch: where TensorFlow is installed, it would import it, which takes seconds and prints
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)  # that it makes what is not there
    for text in WARNINGS:
        warnings.filterwarnings("ignore", f".*{text}.*")
