"""Mixup and cutmix: images of a batch that are mixed with each other, and whatever belongs to them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Blend = Callable[[Tensor], Tensor]
Mix = Callable[[Tensor], tuple[Tensor, Blend]]


def build_mix(mixup: float, cutmix: float) -> Mix | None:
    """Return a function that mixes the images of a batch, and says how it did; None if both α are 0.

    It takes images float `(B, C, H, W)` and returns them mixed, with a function that mixes in the same proportions what
    belongs to the images, float `(B, n)`: their labels as one-hot rows, say.

    Args:
        mixup: α of mixup (Zhang et al., 2018), 0 or more.
        cutmix: α of cutmix (Yun et al., 2019), 0 or more. With both, each call draws one of them.
    """
    if mixup == 0 and cutmix == 0:
        return None
    from torchvision.transforms import v2  # only runs that mix wait for it

    kinds = [(v2.MixUp, mixup), (v2.CutMix, cutmix)]
    draw = v2.RandomChoice([kind(alpha=alpha) for kind, alpha in kinds if alpha > 0])

    def mix(images: Tensor) -> tuple[Tensor, Blend]:
        mixed, shares = draw(images, torch.eye(len(images), device=images.device))  # of each image in each, (B, B)
        # a matrix product, written out: autocast and TF32 would round it
        return mixed, lambda values: (shares.unsqueeze(2) * values).sum(dim=1)

    return mix
