"""From a checkpoint file back to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from fer_lightning import __version__
from fer_lightning.core.errors import CheckpointError, first_lines
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


def selection(checkpoint: dict[str, Any], path: str | Path) -> dict[str, str | None]:
    """Return `{"selected_on": split}`: whose images chose a checkpoint, None for the last one; empty if unknown.

    Args:
        checkpoint: as `read_checkpoint` gives it.
        path: of its file, by whose name it is told from others of its run.
    """
    states = [state for name, state in checkpoint.get("callbacks", {}).items() if "Checkpoint" in name]
    for state in sorted(states, key=lambda state: state["monitor"] is None):
        kept = {Path(file).name for file in (*state["best_k_models"], state["best_model_path"])}
        if Path(path).name in kept:
            monitor = state["monitor"]
            splits = {"val": "validation", "train": "train"}
            return {"selected_on": None if monitor is None else splits[monitor.partition("/")[0]]}
    return {}


def data_facts(checkpoint: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """Return what a checkpoint knows of its data: `ExpressionDataModule.facts()`.

    Raises:
        CheckpointError: it was trained without them.
    """
    facts = checkpoint["hyper_parameters"].get("data_facts")
    if facts is None:
        raise CheckpointError(
            f"{path} does not say what data it was trained on: train with python -m fer_lightning.train, "
            "or give ExpressionClassifier data_facts=data.facts()"
        )
    return facts


def load_classifier(path: str | Path, kind: type[ExpressionClassifier] = ExpressionClassifier) -> ExpressionClassifier:
    """Rebuild a classifier, in evaluation mode on the CPU, from its checkpoint alone: no configuration and no download.

    Args:
        path: of the checkpoint.
        kind: the class that it was made by.

    Raises:
        CheckpointError: as in `read_checkpoint`, or another class or version made it.
    """
    return build_classifier(read_checkpoint(path), path, kind)


def build_classifier(
    checkpoint: dict[str, Any], path: str | Path, kind: type[ExpressionClassifier] = ExpressionClassifier
) -> ExpressionClassifier:
    """Do the same from what `read_checkpoint` returned for that path.

    Raises:
        CheckpointError: another class or version made it.
    """
    settings = checkpoint["hyper_parameters"] | {
        "pretrained": False,
        "weights": None,
        "compile": None,
        "cuda_graph": False,
    }
    try:
        model = kind(**settings)
        model.load_state_dict(checkpoint["state_dict"])
    except (TypeError, RuntimeError) as error:  # a foreign argument, or weights of other names or shapes
        maker = checkpoint["fer_lightning"]
        raise CheckpointError(
            f"{path} was made by another class or version: by {maker.get('class', 'a class')} of fer_lightning "
            f"{maker['version']}, not by {kind.__name__} of {__version__} ({first_lines(error)}); {HINT}"
        ) from error
    return model.eval()
