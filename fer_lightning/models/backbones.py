"""From a name to a network: one of ours, or any of timm's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from fer_lightning.core.choices import check_choices
from fer_lightning.core.errors import ConfigError, first_lines
from fer_lightning.models.cnn_gru import CnnGRU
from fer_lightning.models.compact_cnn import CompactCNN
from fer_lightning.models.keras_cnn import KerasCNN
from fer_lightning.models.network import Network, evaluating
from fer_lightning.models.small_cnn import SmallCNN

Stem = Literal["imagenet", "small"]
NETWORKS: dict[str, Callable[..., Network]] = {
    "small_cnn": SmallCNN,
    "compact_cnn": CompactCNN,
    "keras_cnn": KerasCNN,
    "cnn_gru": CnnGRU,
}
"""Our own, by name. Each is called as `constructor(num_classes=…, in_channels=…, image_size=…, drop_rate=…,
**backbone_kwargs)` and returns a network with timm's methods; see `build_backbone`."""


def build_backbone(
    name: str,
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    pretrained: bool = False,
    weights: str | None = None,
    drop_rate: float = 0.0,
    stem: Stem = "imagenet",
    backbone_kwargs: Mapping[str, Any] | None = None,
) -> Network:
    """Build a network that maps pixels float `(B, in_channels, image_size, image_size)` to logits `(B, num_classes)`.

    VGGs get a global average pool and a linear layer in place of their 120 M-parameter dense part.

    Args:
        name: one of `NETWORKS`, or any timm name, with or without a tag (`resnet50.a1_in1k`).
        num_classes, in_channels, image_size: outputs, and channels and pixels a side of the images.
        pretrained: start from timm's weights, downloaded unless they already lie in the hub's cache.
        weights: start from this file instead; see `load_weights`.
        drop_rate: dropout before the last layer (in `keras_cnn`: every dropout), in [0, 1).
        stem: `imagenet`, the network as it is; or `small`, which keeps the resolution of small faces: a ResNet's first
            convolution gets stride 1 (and, unless it comes with weights, a 3×3 kernel) and its max-pool goes; a VGG
            loses its last max-pool.
        backbone_kwargs: further arguments of the network's constructor.

    Raises:
        ConfigError: unknown name, weights that cannot be loaded, arguments or images that the network cannot take.
        ValueError: an argument is out of its range, or this network has no small stem.
    """
    if num_classes < 1 or in_channels < 1:
        raise ValueError(f"num_classes and in_channels must be 1 or more, got {num_classes} and {in_channels}")
    check_choices(build_backbone, {"stem": stem})
    check_name(name)
    download, kwargs = pretrained and weights is None, dict(backbone_kwargs or {})
    if download and name in NETWORKS:
        raise ConfigError(f"model.backbone={name} has no pretrained weights; type model.pretrained=false")
    sizes = {"num_classes": num_classes, "drop_rate": drop_rate}
    try:
        if name in NETWORKS:
            backbone = NETWORKS[name](in_channels=in_channels, image_size=image_size, **sizes, **kwargs)
        else:
            from fer_lightning.models.timm_backbones import build_timm  # a network of ours does not wait for timm

            backbone = build_timm(name, download, image_size, {"in_chans": in_channels, **sizes}, kwargs)
    except TypeError as error:
        why, unknown = first_lines(error), re.search("unexpected keyword argument '(.+?)'", str(error))
        cure = f"leave out {unknown[1]}" if unknown else "type 'model.backbone_kwargs={}' for none"
        raise ConfigError(f"model.backbone_kwargs={kwargs} does not suit {name} ({why}): {cure}") from error
    if stem == "small":
        from fer_lightning.models.timm_backbones import shrink_stem

        shrink_stem(backbone, name, keep_kernel=download)
    if weights is not None:
        from fer_lightning.models.weights.fit import load_weights

        load_weights(backbone, weights, in_channels, name)
    _check_forward(backbone, name, (1, in_channels, image_size, image_size), num_classes)
    return backbone


def check_name(name: str) -> None:
    """Raise a ConfigError with near names unless `name`, and its tag, is a network of ours or timm's."""
    if name not in NETWORKS:
        from fer_lightning.models.timm_backbones import check_timm_name

        check_timm_name(name, others=NETWORKS)


def _check_forward(backbone: Network, name: str, shape: tuple[int, ...], num_classes: int) -> None:
    """Raise a ConfigError unless one image of `shape`, in evaluation mode, gives logits."""
    try:
        with evaluating(backbone) as device:
            logits = backbone(torch.zeros(shape, device=device))
    except Exception as error:  # networks say in many ways that an image is too small
        reason = f"{type(error).__name__}: {first_lines(error)}"
        made_for = getattr(backbone, "pretrained_cfg", {}).get("input_size", (3, 224, 224))[-1]
        advice = f"type model.input_size={made_for}, or another model.backbone"
        size = "×".join(map(str, shape[1:]))
        raise ConfigError(f"model.backbone={name} cannot take {size} images ({reason}); {advice}") from error
    if not isinstance(logits, Tensor) or logits.shape != (1, num_classes):
        raise ConfigError(f"model.backbone={name} gives no logits (1, {num_classes}): it is not an image classifier")
