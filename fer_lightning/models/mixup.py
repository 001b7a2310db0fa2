"""Mixing the images of a batch, and their labels with them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def build_mix(mixup: float, cutmix: float, num_classes: int) -> Mix | None:
    """Return a function that mixes a batch, or None if both α are 0."""
    if mixup == 0 and cutmix == 0:
        return None
    from torchvision.transforms import v2  # only runs that mix wait for it

    mixes: list[Mix] = []
    if mixup > 0:
        mixes.append(v2.MixUp(alpha=mixup, num_classes=num_classes))
    if cutmix > 0:
        mixes.append(v2.CutMix(alpha=cutmix, num_classes=num_classes))
    mix: Mix = v2.RandomChoice(mixes)
    return mix


def main_labels(targets: Tensor) -> Tensor:
    """Return the label of the larger fraction, int64 `(B,)`, of targets `(B,)` or, where mixed, `(B, K)`."""
    return targets.argmax(dim=1) if targets.ndim == 2 else targets
