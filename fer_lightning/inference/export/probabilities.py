"""What is exported: a network from stored bytes to probabilities, in operations that every format knows."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning.data.loading.dataset import Batch
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.network import Network
from fer_lightning.models.normalize import Normalize


def to_export(model: Any, image_size: int, *, fuse: bool = True) -> nn.Module:
    """Return a module, in evaluation mode, that maps images uint8 `(N, C, S, S)` to probabilities float32 `(N, K)`.

    Args:
        model: an ExpressionClassifier, or a LightningModule of the user's own.
        image_size: S, pixels a side, which is fixed in what is exported; N is 1 or more.
        fuse: merge what `Network.fused` merges; otherwise weights keep the values of the checkpoint.
    """
    own = not isinstance(model, ExpressionClassifier)
    network = OwnProbabilities(model) if own else Probabilities(model, image_size, fuse=fuse)
    return network.eval().requires_grad_(False)


class Probabilities(nn.Module):
    """Normalisation, backbone and softmax of an ExpressionClassifier."""

    def __init__(self, model: ExpressionClassifier, image_size: int, *, fuse: bool = True) -> None:
        super().__init__()
        self.pixels = FixedNormalize(model.pixels, image_size)
        backbone = copy.deepcopy(model.backbone)
        if fuse and isinstance(backbone, Network):
            backbone = backbone.fused()
        # in channels_last, torch.export writes a pooling to 1×1 as a gather over computed indices
        self.backbone = backbone.to(memory_format=torch.contiguous_format)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.backbone(self.pixels(images))
        return logits.float().softmax(dim=1)


class FixedNormalize(nn.Module):
    """The same as `Normalize` for images of one size, whose resizing is two products with a constant matrix.

    Bilinear interpolation with antialias is linear and separable, and formats and runtimes know products better.
    """

    scale: Tensor
    shift: Tensor
    resize: Tensor | None

    def __init__(self, pixels: Normalize, image_size: int) -> None:
        super().__init__()
        self.register_buffer("scale", pixels.scale.clone())
        self.register_buffer("shift", pixels.shift.clone())
        to = image_size if pixels.size is None else pixels.size
        self.register_buffer("resize", None if to == image_size else resize_matrix(image_size, to))

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.to(self.scale.dtype) * self.scale + self.shift
        return pixels if self.resize is None else self.resize @ pixels @ self.resize.T


def resize_matrix(before: int, after: int) -> Tensor:
    """Return float32 `(after, before)`, which interpolates a column of pixels as `Normalize` does.

    >>> resize_matrix(2, 1)
    tensor([[0.5000, 0.5000]])
    """
    columns = torch.eye(before).view(1, 1, before, before)
    return F.interpolate(columns, size=(after, before), mode="bilinear", antialias=True)[0, 0].contiguous()


class OwnProbabilities(nn.Module):
    """The `predict_step` of a LightningModule of the user's own; see `models.own_module`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        index = torch.arange(images.shape[0])
        # of the class: that of the object looks at the values, which are not known while a graph is recorded
        step: Any = type(self.model).predict_step
        output = step(self.model, Batch(images, torch.zeros_like(index), index), 0)
        probabilities: Tensor = output if isinstance(output, Tensor) else output["probabilities"]
        return probabilities.float()
