"""Statistics of batch normalisation for weights that no training step has seen."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from fer_lightning.models.classifier import ExpressionClassifier


def recompute_statistics(model: ExpressionClassifier, batches: Iterable[Tensor]) -> None:
    """Recompute means and variances of batch normalisation, in place, as averaged weights need (Izmailov et al., 2018).

    Each is the mean over the batches, uint8 `(B, C, H, W)` with B of 2 or more, in training mode; what dropout draws is
    the same each time. A network whose backbone is always frozen keeps its own.
    """
    if model.hparams["freeze_backbone"] and model.hparams["unfreeze_epoch"] is None:
        return
    device = model.pixels.scale.device
    pixels = (model.pixels(images.to(device)).contiguous(memory_format=model.memory_format) for images in batches)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        update_bn(pixels, model.backbone)
