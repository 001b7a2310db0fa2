"""Weights under torchvision's names, for the networks that timm writes in the same order under others."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

# timm's name → torchvision's, of networks that give equal logits from equal tensors (a test holds each)
SAME_ORDER = {
    **{f"efficientnet_b{size}": f"efficientnet_b{size}" for size in range(5)},  # from b5 on BN's ε differs
    **{f"convnext_{size}": f"convnext_{size}" for size in ("tiny", "small", "base", "large")},
    "mobilenetv2_100": "mobilenet_v2",
}
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")  # until torchvision 0.2, and in its files


def torchvision_keys(architecture: str) -> dict[str, str]:
    """Return torchvision's names of the tensors of one of timm's networks → timm's; empty if they are not known."""
    if architecture not in SAME_ORDER:
        return {}
    import timm
    from torchvision.models import get_model

    with torch.device("meta"):  # names alone: takes no memory and draws no weights
        theirs: nn.Module = get_model(SAME_ORDER[architecture], weights=None)
        ours: nn.Module = timm.create_model(architecture)
    return dict(zip(theirs.state_dict(), ours.state_dict(), strict=True))


def modern_name(name: str) -> str:
    """Return today's name of a tensor in torchvision's first files of DenseNets."""
    return _OLD_DENSENET.sub(r"\1\2", name)


def reshaped(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a tensor in the shape of `like` if they differ in axes of one element only, such as ConvNeXt's scales."""
    same = [side for side in tensor.shape if side != 1] == [side for side in like.shape if side != 1]
    return tensor.reshape(like.shape) if same else tensor
