"""The block of a compact network: one 3×3 convolution while it is used, perhaps several paths while it is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights


class ConvBlock(nn.Module):
    """3×3 convolution, BN, with `pool` a 2×2 max-pool, ReLU; maps float `(B, before, h, w)` to `(B, width, h, w)`.

    Args:
        before, width: channels of the input and of the output.
        pool: halve the map, before the ReLU: the same result from a quarter of the values.
        branches: add a 1×1 convolution with BN and, where `before` equals `width`, the input with a BN of its own:
            RepVGG (Ding et al., 2021).
        residual: add the input as it is where `before` equals `width`.
        drop_path: probability that an image goes by the identity alone, in [0, 1): stochastic depth (Huang et al.,
            2016). It has no effect on a block without identity.
        dirac: the first output channels start as copies of the input, as far as there are enough.
    """

    def __init__(
        self,
        before: int,
        width: int,
        *,
        pool: bool = False,
        branches: bool = False,
        residual: bool = False,
        drop_path: float = 0.0,
        dirac: bool = False,
    ) -> None:
        super().__init__()
        self.main = _conv_bn(before, width, 3)
        self.pointwise = _conv_bn(before, width, 1) if branches else None
        identity = nn.BatchNorm2d(width) if branches else nn.Identity() if residual else None
        self.identity = identity if before == width else None
        self.drop_path = 0.0 if self.identity is None else drop_path
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        if dirac:
            nn.init.dirac_(self.main[0].weight[:before])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.main(x)
        if self.pointwise is not None:
            y = y.add_(self.pointwise(x))  # in place: a BN does not need its output for its gradients
        if self.identity is not None:
            same = self.identity(x)
            if self.training and self.drop_path > 0:
                keep = y.new_empty((len(y), 1, 1, 1)).bernoulli_(1 - self.drop_path).div_(1 - self.drop_path)
                y = torch.addcmul(same, y, keep)
            else:
                y = y.add_(same)
        return self.relu(self.pool(y))  # type: ignore[no-any-return]

    @torch.no_grad()
    def fused(self) -> nn.Sequential:
        """Return the same function in evaluation mode: one convolution with bias, ReLU and, if it pools, a max-pool."""
        kernel, bias = _folded(self.main[0].weight, self.main[1])
        if self.pointwise is not None:
            more, shift = _folded(F.pad(self.pointwise[0].weight, (1, 1, 1, 1)), self.pointwise[1])
            kernel, bias = kernel + more, bias + shift
        if self.identity is not None:
            more = nn.init.dirac_(torch.empty_like(kernel))
            shift = torch.zeros_like(bias)
            if isinstance(self.identity, nn.BatchNorm2d):
                more, shift = _folded(more, self.identity)
            kernel, bias = kernel + more, bias + shift
        conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel_size=3, padding=1, device="meta")  # draws nothing
        conv.weight, conv.bias = nn.Parameter(kernel), nn.Parameter(bias)  # on their device, in their memory format
        layers = [conv, nn.ReLU(inplace=True)]  # side by side, which runtimes compute in one go
        return nn.Sequential(*layers, *([] if isinstance(self.pool, nn.Identity) else [self.pool]))


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from the means of all (Hu et al., 2018); keeps the shape `(B, C, h, w)`.

    Written out because an import of timm takes seconds, for which a network of ours does not wait.

    Args:
        width: C.
        ratio: hidden units over channels, in (0, 1].
    """

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        hidden = max(1, round(width * ratio))
        self.reduce, self.expand = nn.Conv2d(width, hidden, kernel_size=1), nn.Conv2d(hidden, width, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.reduce(x.mean(dim=(2, 3), keepdim=True)))
        return x * self.expand(hidden).sigmoid()  # type: ignore[no-any-return]


def _conv_bn(before: int, width: int, size: int) -> Any:
    """Return a He-initialised convolution without bias, which BN would cancel, and the BN."""
    conv = nn.Conv2d(before, width, kernel_size=size, padding="same", bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(width))


def _folded(kernel: Tensor, norm: Any) -> tuple[Tensor, Tensor]:
    """Return kernel and bias of a convolution without bias and the BN after it."""
    return fuse_conv_bn_weights(kernel, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
