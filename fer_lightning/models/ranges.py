"""What the settings of a classifier may be."""

from __future__ import annotations


def check_ranges(*, channels: int, mixup: float, cutmix: float, drop_rate: float, unfreeze_epoch: int | None) -> None:
    """Raise a ValueError that names the argument and its range."""
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels}")
    if mixup < 0 or cutmix < 0:
        raise ValueError(f"mixup and cutmix must be 0 (off) or positive, got mixup={mixup}, cutmix={cutmix}")
    if not 0 <= drop_rate < 1:
        raise ValueError(f"drop_rate must be in [0, 1), got {drop_rate}")
    if unfreeze_epoch is not None and unfreeze_epoch < 0:
        raise ValueError(f"unfreeze_epoch must be 0 or more, got {unfreeze_epoch}")
