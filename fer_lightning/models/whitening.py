"""A first layer that is computed from the training images: its outputs are uncorrelated and of one scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 5e-4  # beside eigenvalues, so that the faintest patterns are not blown up; airbench's value


class Whitening(nn.Module):
    """Frozen filters that whiten patches of the image, their negatives, and a ReLU (airbench; Jordan, 2024).

    The filters are the eigenvectors of the covariance of all patches of training images, divided by the root of their
    eigenvalue. Until `prepare` has computed them they copy the single pixels of a patch. Maps pixels float
    `(B, in_channels, H, W)` to float `(B, width, H / stride, W / stride)` with
    `width = 2 · in_channels · kernel_size²`.

    Args:
        in_channels: of the images.
        stride: 1, with patches of 3×3 pixels; or 2, with 4×4.
    """

    weight: Tensor  # (width, in_channels, kernel_size, kernel_size)
    bias: Tensor  # (width,)

    def __init__(self, in_channels: int, stride: int) -> None:
        super().__init__()
        self.stride, self.kernel_size = stride, {1: 3, 2: 4}[stride]
        count = in_channels * self.kernel_size**2
        self.width = 2 * count
        # buffers, not parameters: whatever trains or unfreezes parameters leaves them as they are
        self.register_buffer("weight", torch.zeros(self.width, in_channels, self.kernel_size, self.kernel_size))
        self.register_buffer("bias", torch.zeros(self.width))
        self._set(torch.eye(count), torch.zeros(count))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.conv2d(x, self.weight, self.bias, self.stride, padding=1), inplace=True)

    @torch.no_grad()
    def prepare(self, pixels: Tensor) -> None:
        """Compute the filters from training images float `(N, in_channels, H, W)`, normalised, in place."""
        mean, covariance = patch_statistics(pixels, self.kernel_size)
        values, vectors = torch.linalg.eigh(covariance)
        filters = (vectors / (values + EPSILON).sqrt()).T.flip(0)  # the strongest first
        self._set(filters.float(), -(filters @ mean).float())

    def _set(self, filters: Tensor, bias: Tensor) -> None:
        self.weight.copy_(torch.cat([filters, -filters]).view(self.weight.shape))
        self.bias.copy_(torch.cat([bias, -bias]))


def patch_statistics(pixels: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return mean `(d,)` and covariance `(d, d)`, float64, of all patches of `size` × `size` pixels of images.

    Args:
        pixels: float `(N, C, H, W)`, N ≥ 1.
        size: pixels a side, at most H and W; d = C · size².
    """
    total = products = pixels.new_zeros((), dtype=torch.float64)
    count = 0
    for batch in torch.split(pixels, 64):  # all patches at once would take size² times the memory of the images
        patches = batch.unfold(2, size, 1).unfold(3, size, 1).movedim(1, 3).flatten(3).flatten(0, 2).double()
        total, products, count = total + patches.sum(0), products + patches.T @ patches, count + len(patches)
    mean = total / count
    return mean, products / count - mean.outer(mean)
