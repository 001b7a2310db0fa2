"""What a score may be called: a test score only where the scored images had no part in training or selection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# what one prediction is the mean of, where an image was seen more than once
AVERAGED = {"flip": "mean of each image and its mirror image", "ten_crop": "mean of ten crops of each image"}
SEEN_IN = {"train": "the network was trained on", "validation": "chose its checkpoint"}


def name_score(metrics: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name of a score and the reason in one sentence: (`Validation score`, `The checkpoint was …`).

    Args:
        metrics: with `split` (which images were scored), `views` (of each image, averaged), `selected_on` (which split
            chose the checkpoint; None: nothing was chosen), `same_data` (whether the weights were trained on another
            split of this very data), `partial` (whether the batches were limited), what `compute_metrics` says of
            duplicates, and `left_out_in_train` and `left_out_in_validation` (how many images of the split were not
            scored, because the network has seen them).
    """
    name, reason = _name_and_reason(metrics)
    averaged = AVERAGED.get(str(metrics.get("views")))
    return name if averaged is None else f"{name} ({averaged})", reason


def _name_and_reason(metrics: Mapping[str, Any]) -> tuple[str, str]:
    split = metrics.get("split")
    if not split:
        return "Score", "The run does not say which images were scored, so this proves nothing about new faces."
    images = "all images" if split == "all" else f"{split} images"
    if metrics.get("partial"):
        return "Partial score", f"Only a part of the {split} images was scored: good for a trial, not for a comparison."
    if not metrics.get("same_data", True):
        return f"Score on {images}", _of_other_files(metrics)
    if split == "train":
        return "Training score", "The network was trained on these very images: this says nothing about new faces."
    if split == "all":
        return "Score on all images", "Training images are among them: this says little about new faces."
    seen = describe_duplicates(metrics)
    marked = f"{split.capitalize()} score" + " with duplicates" * (seen is not None)
    also = "" if seen is None else f" {seen}"
    if "selected_on" not in metrics:
        reason = "The run does not say which images chose the checkpoint, so this may be an optimistic score."
        return f"Score on {images}", reason + also
    chosen = metrics["selected_on"]
    if chosen is None:
        reason = f"These are the weights that training ended with; no checkpoint was chosen, on {split} or elsewhere."
        return marked, reason + also
    if chosen == split:
        reason = f"The checkpoint was chosen on these same {split} images, so the score leans to the optimistic side"
        return "Validation score", f"{reason}: it is not a test score.{also}"
    reason = f"The checkpoint was chosen on the {chosen} images"
    if seen is not None:
        return marked, f"{reason}. {seen}"
    if "duplicates_in_train" not in metrics:
        return marked, f"{reason}; whether {split} images have duplicates among those or in train is not known."
    return marked, f"{reason}; the {split} images had no part in it."


def describe_duplicates(metrics: Mapping[str, Any]) -> str | None:
    """Return one sentence on the scored images that the network has seen; None if there is none, or it is not known."""
    found = {role: metrics.get(f"duplicates_in_{role}") or 0 for role in ("train", "validation")}
    if not any(found.values()):
        return None
    (first, count), *others = ((role, count) for role, count in found.items() if count)
    places = " and ".join([first, *(f"{more:,} in {role}" for role, more in others)])
    have = f"{count:,} {'has' if count == 1 else 'have'} a pixel-identical duplicate in {places}"
    without = metrics.get("accuracy_without_duplicates")
    score = "none is left without them" if without is None else f"without them, the accuracy is {100 * without:.2f} %"
    return f"Of the {metrics.get('count', 0):,} images, {have}: {score}."


def _of_other_files(metrics: Mapping[str, Any]) -> str:
    """Return what is known of images of which the network has seen others, or other versions of the files."""
    if "duplicates_in_train" not in metrics:
        return "The network was trained on other files; whether some of these images were among them is not known."
    left_out = {what: metrics.get(f"left_out_in_{role}") or 0 for role, what in SEEN_IN.items()}
    parts = " and ".join(f"{count:,} that {what}" for what, count in left_out.items() if count)
    reason = f"Of the images, {parts} are left out. " if parts else ""
    seen = [metrics["duplicates_in_train"], metrics["duplicates_in_validation"]]
    if not any(seen):
        scope = "by their pixels: copies saved anew as JPEG are not noticed"
        return f"{reason}The network has seen none of {'the others' if parts else 'these images'} ({scope})."
    without = metrics.get("accuracy_without_duplicates")
    rest = "" if without is None else f" Without these, the accuracy is {100 * without:.2f} %."
    return f"{reason}The network was trained on {seen[0]:,} and chosen by {seen[1]:,} of these images.{rest}"
