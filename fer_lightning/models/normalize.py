"""From stored bytes to the input of a network: the only place where images are scaled."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Normalize(nn.Module):
    """Scales to 0…1, normalises and, where asked for, upsamples; part of the model, so that it cannot be forgotten.

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
        # one multiply-add on 0…255: (x / 255 - mean) / std; derived, so not stored with the weights
        means, deviations = (torch.tensor(value, dtype=torch.float32).view(1, -1, 1, 1) for value in (mean, std))
        self.register_buffer("scale", 1.0 / (255.0 * deviations), persistent=False)
        self.register_buffer("shift", -means / deviations, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 `(B, C, S, S)` for uint8 (or float 0…255) images `(B, C, H, W)`."""
        pixels = torch.addcmul(self.shift, images.to(self.scale.dtype), self.scale)
        if self.size is not None and pixels.shape[-2:] != (self.size, self.size) and len(pixels) > 0:
            pixels = F.interpolate(pixels, size=(self.size, self.size), mode="bilinear", antialias=True)
        return pixels
