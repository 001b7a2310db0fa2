"""From a checkpoint file back to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from fer_lightning.errors import CheckpointError
from fer_lightning.models.classifier import ExpressionClassifier

HINT = "type ckpt_path=<run folder>/checkpoints/best.ckpt"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint without running any code out of it.

    Returns:
        Lightning's dictionary: `state_dict`, `hyper_parameters` (the arguments of the model), `epoch`, `global_step`, …

    Raises:
        CheckpointError: there is no such file, or it is no checkpoint of fer_lightning.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; {HINT}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types here, none of which says more to the user
        raise CheckpointError(f"{path} is no checkpoint that can be read ({type(error).__name__}); {HINT}") from error
    if not isinstance(checkpoint, dict) or not {"fer_lightning", "hyper_parameters", "state_dict"} <= checkpoint.keys():
        raise CheckpointError(f"{path} holds no fer_lightning model; {HINT}")
    return checkpoint


def load_classifier(path: str | Path) -> ExpressionClassifier:
    """Rebuild a classifier, in evaluation mode on the CPU, from its checkpoint alone: no configuration and no download.

    Raises:
        CheckpointError: as in `read_checkpoint`.
    """
    checkpoint = read_checkpoint(path)
    settings = checkpoint["hyper_parameters"] | {"pretrained": False, "weights": None}
    model = ExpressionClassifier(**settings)
    model.load_state_dict(checkpoint["state_dict"])
    return model.eval()
