"""What the settings of a datamodule may be."""

from __future__ import annotations

from collections.abc import Sequence


def check_choices(**choices: object) -> None:
    """Raise a ValueError that lists the options, unless each value is one of them."""
    allowed: dict[str, tuple[object, ...]] = {
        "layout": ("auto", "synthetic", "folders", "csv"),
        "sampler": ("shuffle", "balanced"),
        "on_error": ("raise", "skip"),
        "channels": (1, 3),
        "engine": ("auto", "albumentations", "batched"),
    }
    for name, value in choices.items():
        if value not in allowed[name]:
            options = ", ".join(str(option) for option in allowed[name])
            raise ValueError(f"data.{name}={value}: choose one of {options}")


def check_numbers(
    batch_size: int, image_size: int, holdout: float | str, split: Sequence[float], limit: int | None
) -> None:
    """Raise a ValueError that names the setting and its range, unless each number lies within."""
    if batch_size < 1:
        raise ValueError(f"data.batch_size={batch_size}: it must be 1 or more")
    if not 16 <= image_size <= 1024:
        raise ValueError(f"data.image_size={image_size}: it must be between 16 and 1024 pixels")
    if holdout != "auto" and not (isinstance(holdout, (int, float)) and 0 <= holdout < 1):
        raise ValueError(f"data.holdout={holdout}: it must be auto or a share in [0, 1)")
    if len(split) != 3 or min(split) < 0 or abs(sum(split) - 1) > 1e-6:
        raise ValueError(f"data.split={list(split)}: give the shares of train, validation and test, summing to 1")
    if limit is not None and limit < 1:
        raise ValueError(f"data.limit={limit}: it must be 1 or more, or null")
