"""Dropout that a CPU draws in a fraction of the time."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, with other random bits on a CPU.

    PyTorch draws one Bernoulli number an element there, on one core, which was a sixth of a training step of
    `keras_cnn`. Here 64 random bits of the same generator decide upon four elements: the probability is exact to
    2⁻¹⁶. On other devices, in evaluation mode, under `torch.compile` and where `x` has gaps it is PyTorch's own.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return float of the shape and memory format of `x`, float; see `torch.nn.Dropout`."""
        drawn_here = self.training and 0 < self.p < 1 and x.device.type == "cpu" and not torch.compiler.is_compiling()
        dense = x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))
        return x * keep_mask(x, self.p).div_(1 - self.p) if drawn_here and dense else super().forward(x)


def keep_mask(x: Tensor, p: float) -> Tensor:
    """Return 0 with probability `p` and else 1, of the shape, dtype and memory format of a dense `x`."""
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    bits = words.view(torch.int16)[: x.numel()].as_strided(x.shape, x.stride())
    smallest_kept = min(round(p * 2**16), 2**16 - 1) - 2**15  # int16 has no more, and would wrap around
    return (bits >= smallest_kept).to(x.dtype)
