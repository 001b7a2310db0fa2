"""The last layer of a network, which can be trained while everything before it is frozen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning.core.errors import ConfigError
from fer_lightning.models.network import Network


def head_parameters(backbone: Network) -> list[nn.Parameter]:
    """Return the parameters of the last layer (of both, for distilled transformers)."""
    last = backbone.get_classifier()
    return [parameter for head in (last if isinstance(last, tuple) else (last,)) for parameter in head.parameters()]


def backbone_parameters(backbone: Network) -> list[nn.Parameter]:
    """Return all parameters but those of the last layer."""
    head = {id(parameter) for parameter in head_parameters(backbone)}
    return [parameter for parameter in backbone.parameters() if id(parameter) not in head]


def parameter_groups(backbone: Network, backbone_lr: float | None) -> list[dict[str, Any]]:
    """Return groups for an optimizer: all trained parameters, with `backbone_lr` for all but the last layer."""
    head, body = head_parameters(backbone), backbone_parameters(backbone)
    groups: list[dict[str, Any]] = [{"params": head + body}]
    if backbone_lr is not None:
        groups = [{"params": head}, {"params": body, "lr": backbone_lr}]
    groups = [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in groups]
    return [group for group in groups if group["params"]]


def freeze(backbone: Network, name: str, shape: tuple[int, int, int], *, always: bool) -> None:
    """Prepare a network for `head_logits`, in place.

    Args:
        backbone: to be frozen.
        name: of the network, for the message.
        shape: of an image, `(C, H, W)`.
        always: turn `requires_grad` off for all but the last layer, because they will not be unfrozen later.

    Raises:
        ConfigError: the last layer cannot be trained by itself.
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
    """Return logits float `(B, K)` whose gradients reach the last layer only.

    Args:
        backbone: in evaluation mode, so that its statistics and features stay the same; see `splits_at_head`.
        pixels: float `(B, C, H, W)`.
        drop_rate: dropout of the features, applied here because evaluation mode turns off the network's own.
    """
    with torch.no_grad():
        # not forward_head as a whole: keras_cnn, mobilenetv3 and others have further layers there
        features = backbone.forward_head(backbone.forward_features(pixels), pre_logits=True)
    return backbone.get_classifier()(F.dropout(features, drop_rate))


def splits_at_head(backbone: Network, shape: tuple[int, int, int]) -> bool:
    """Return whether `forward` equals the last layer applied to its inputs, tried on images of shape `(C, H, W)`."""
    training, device = backbone.training, next(backbone.parameters()).device
    pixels = torch.linspace(-2, 2, 2 * shape[0] * shape[1] * shape[2], device=device).sin().view(2, *shape)
    backbone.eval()
    try:
        with torch.no_grad():
            whole, parts = backbone(pixels), head_logits(backbone, pixels, drop_rate=0.0)
    except Exception:  # two last layers, or one that takes maps; networks fail in many ways here
        return False
    finally:
        backbone.train(training)
    return whole.shape == parts.shape and torch.allclose(whole, parts, rtol=1e-4, atol=1e-5)
