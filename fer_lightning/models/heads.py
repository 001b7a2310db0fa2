"""The last layer of a network, which can be trained while everything before it is frozen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning.core.errors import ConfigError
from fer_lightning.models.network import Network, evaluating


def last_layers(backbone: Network) -> tuple[nn.Module, ...]:
    """Return the last layer; distilled transformers have two."""
    last = backbone.get_classifier()
    return tuple(last) if isinstance(last, (tuple, list)) else (last,)


def head_parameters(backbone: Network) -> list[nn.Parameter]:
    """Return the parameters of the last layers."""
    return [parameter for layer in last_layers(backbone) for parameter in layer.parameters()]


def backbone_parameters(backbone: Network) -> list[nn.Parameter]:
    """Return all parameters but those of the last layers."""
    head = {id(parameter) for parameter in head_parameters(backbone)}
    return [parameter for parameter in backbone.parameters() if id(parameter) not in head]


def freeze(backbone: Network, name: str, shape: tuple[int, int, int], *, always: bool) -> None:
    """Prepare a network for `head_logits` of images `(C, H, W)`, in place; a ConfigError if its head is not separate.

    If it stays frozen `always`, all but the last layer lose `requires_grad`.
    """
    if not splits_at_head(backbone, shape):
        raise ConfigError(
            f"model.freeze_backbone=true: the last layer of {name} cannot be trained by itself; type "
            "model.freeze_backbone=false model.backbone_lr=1e-5, or another model.backbone"
        )
    if always:
        for parameter in backbone_parameters(backbone):
            parameter.requires_grad_(False)


def head_logits(backbone: Network, pixels: Tensor, drop_rate: float) -> Any:
    """Return logits float `(B, K)` whose gradients reach the last layer only, for pixels float `(B, C, H, W)`.

    The backbone is in evaluation mode, so that its statistics and features stay the same; its dropout is off then, so
    it is applied here.
    """
    with torch.no_grad():
        # not forward_head as a whole: keras_cnn, mobilenetv3 and others have further layers there
        features = backbone.forward_head(backbone.forward_features(pixels), pre_logits=True)
    return backbone.get_classifier()(F.dropout(features, drop_rate))


def splits_at_head(backbone: Network, shape: tuple[int, int, int]) -> bool:
    """Return whether `forward` equals the last layer applied to its inputs, tried on images of shape `(C, H, W)`."""
    try:
        with evaluating(backbone) as device:
            pixels = torch.linspace(-2, 2, 2 * shape[0] * shape[1] * shape[2], device=device).sin().view(2, *shape)
            whole, parts = backbone(pixels), head_logits(backbone, pixels, drop_rate=0.0)
    except Exception:  # two last layers, or one that takes maps; networks fail in many ways here
        return False
    return whole.shape == parts.shape and torch.allclose(whole, parts, rtol=1e-4, atol=1e-5)
