"""What an exported file says of itself: how it is used, what it was trained on, how good it is."""

from __future__ import annotations

from typing import Any

from fer_lightning import __version__
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.runs.files import METRICS
from fer_lightning.runs.schema import read_metrics
from fer_lightning.runs.status import now

SCORES = ("split", "views", "accuracy", "accuracy_interval", "f1_macro", "balanced_accuracy", "count")


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return facts of a checkpoint, ready for JSON, that tell nothing of the machine it was trained on."""
    values = checkpoint.hyper_parameters
    classes, size, channels = list(values["classes"]), int(values["image_size"]), int(values["channels"])
    kind = "grey" if channels == 1 else "RGB"
    facts: dict[str, Any] = {
        "fer_lightning": __version__,
        "classes": classes,
        "image_size": size,
        "channels": channels,
        "fingerprint": (values.get("data_facts") or {}).get("fingerprint"),
        "description": (
            f"images: uint8 (N, {channels}, {size}, {size}), {kind} faces cut out and resized, 0 to 255; "
            f"probabilities: float32 (N, {len(classes)}), of {', '.join(classes)}"
        ),
        "backbone": values["backbone"],
        "epoch": checkpoint.epoch,
        **checkpoint.selection,
        "trained_with": checkpoint.content["fer_lightning"]["version"],
        "exported": now(),
        "scores": checkpoint.content.get("facts", {}).get("scores") or _scores(checkpoint),
    }
    return {key: value for key, value in facts.items() if value is not None}


def _scores(checkpoint: Checkpoint) -> dict[str, Any] | None:
    metrics = own_metrics(checkpoint)
    return None if metrics is None else {key: metrics[key] for key in SCORES if key in metrics}


def own_metrics(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Return `metrics.json` in the run folder that a checkpoint lies in, if it is of this checkpoint."""
    try:
        metrics = read_metrics(checkpoint.path.absolute().parents[1] / METRICS)
    except (OSError, ValueError, IndexError):
        return None
    told = (metrics.get("checkpoint"), metrics.get("epoch"))
    own = told == (f"checkpoints/{checkpoint.path.name}", checkpoint.epoch)
    return metrics if own else None
