"""What a score may be called: a test score only where the scored images had no part in training or selection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def name_score(metrics: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name of a score and the reason in one sentence: (`Validation score`, `The checkpoint was …`).

    Args:
        metrics: with `split` (which images were scored), `selected_on` (which split chose the checkpoint; None: nothing
            was chosen), `same_data` (whether the weights were trained on another split of this very data) and `partial`
            (whether images of the split were left out).
    """
    split = metrics.get("split")
    if not split:
        return "Score", "The run does not say which images were scored, so this proves nothing about new faces."
    images = "all images" if split == "all" else f"{split} images"
    if metrics.get("partial"):
        return "Partial score", f"Only a part of the {split} images was scored: good for a trial, not for a comparison."
    if not metrics.get("same_data", True):
        reason = "The network was trained on other files; whether some of these images were among them is not known."
        return f"Score on {images}", reason
    if split == "train":
        return "Training score", "The network was trained on these very images: this says nothing about new faces."
    if split == "all":
        return "Score on all images", "Training images are among them: this says little about new faces."
    if "selected_on" not in metrics:
        reason = "The run does not say which images chose the checkpoint, so this may be an optimistic score."
        return f"Score on {images}", reason
    chosen, name = metrics["selected_on"], f"{split.capitalize()} score"
    if chosen is None:
        reason = f"These are the weights that training ended with; no checkpoint was chosen, on {split} or elsewhere."
        return name, reason
    if chosen == split:
        reason = f"The checkpoint was chosen on these same {split} images, so the score leans to the optimistic side"
        return "Validation score", f"{reason}: it is not a test score."
    return name, f"The checkpoint was chosen on the {chosen} images; the {split} images had no part in it."
