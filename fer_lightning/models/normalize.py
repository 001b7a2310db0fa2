"""From stored bytes to the input of a network: the only place where images are scaled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning.core.choices import check_choices

Normalization = Literal["standard", "unit", "imagenet"]
Statistics = tuple[list[float], list[float]]  # mean and standard deviation of each channel, on the 0…1 scale
IMAGENET: Statistics = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # what torchvision and most of timm train with


def statistics(normalize: Normalization, mean: Sequence[float], std: Sequence[float]) -> Statistics:
    """Return what to subtract and to divide by, `(C,)` each, for images whose own statistics are `mean` and `std`.

    `standard`: their own, so that values have mean 0 and deviation 1; `unit`: 0 and 1, so that they lie in [0, 1];
    `imagenet`: ImageNet's, and for grey images the average of its three channels.

    Raises:
        ValueError: `normalize` is none of these.

    >>> statistics("unit", [0.5], [0.25])
    ([0.0], [1.0])
    """
    check_choices(statistics, {"normalize": normalize}, prefix="model.")
    if normalize == "standard":
        return list(mean), list(std)
    if normalize == "unit":
        return [0.0] * len(mean), [1.0] * len(std)
    if len(mean) == 3:
        return IMAGENET
    grey_mean, grey_std = (sum(values) / 3 for values in IMAGENET)
    return [grey_mean] * len(mean), [grey_std] * len(std)


class Normalize(nn.Module):
    """Scales to 0…1, normalises and, where asked for, resizes; part of the model, so that it cannot be forgotten.

    Args:
        mean, std: of each channel on the 0…1 scale, `(C,)`; deviations are positive.
        size: pixels a side of the output; None keeps the size.

    Raises:
        ValueError: `mean` and `std` differ in length, or a deviation is not positive.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], size: int | None = None) -> None:
        super().__init__()
        if len(mean) != len(std) or not all(value > 0 for value in std):
            raise ValueError(f"mean and std must be of one length and std positive; got mean={mean}, std={std}")
        self.size = size
        self.training_size: int | None = None  # in place of `size` in training mode: see ProgressiveResizing
        # one multiply-add on 0…255: (x / 255 - mean) / std; derived, so not stored with the weights
        means, deviations = (torch.tensor(value, dtype=torch.float32).view(1, -1, 1, 1) for value in (mean, std))
        self.register_buffer("scale", 1.0 / (255.0 * deviations), persistent=False)
        self.register_buffer("shift", -means / deviations, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 `(B, C, S, S)` for uint8 (or float 0…255) images `(B, C, H, W)`."""
        return self.resize(torch.addcmul(self.shift, images.to(self.scale.dtype), self.scale))

    def resize(self, pixels: Tensor) -> Tensor:
        """Return float `(B, C, S, S)` of the size that the network sees now, for pixels float `(B, C, H, W)`."""
        size = self.training_size if self.training and self.training_size is not None else self.size
        if size is None or pixels.shape[-2:] == (size, size) or len(pixels) == 0:
            return pixels
        return F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
