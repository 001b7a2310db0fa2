"""What every backbone offers: timm's methods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """An image classifier whose `forward` is `forward_head` of `forward_features`, with `fc` as its last layer."""

    num_classes: int
    num_features: int  # channels of the last map
    head_hidden_size: int  # inputs of the last layer
    fc: nn.Linear

    def forward_features(self, x: Tensor) -> Any:
        """Return the last map, float `(B, num_features, h, w)`, of pixels float `(B, C, H, W)`."""
        raise NotImplementedError

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Any:
        """Return logits float `(B, num_classes)` of the last map, or the inputs of the last layer."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Any:
        """Return logits float `(B, num_classes)` of pixels float `(B, C, H, W)`."""
        return self.forward_head(self.forward_features(x))

    def prepare(self, pixels: Tensor) -> None:
        """Compute, in place, what is taken from training images float `(N, C, H, W)`, normalised; by default nothing.

        A run calls it on a new network; a continued one gets the result from its checkpoint.
        """

    def fused(self) -> Network:
        """Return a network in evaluation mode for inference alone that gives the same logits in less time.

        It is this one if there is nothing to fuse, and else a copy.
        """
        return self.eval()

    def group_matcher(self, coarse: bool = False) -> Any:
        """Return what numbers layers, or if `coarse` stages, by names of parameters, from the first to the last.

        In timm's networks it is a dict of patterns, for `timm.models.group_parameters`; here a function. A norm belongs
        to the layer before it, branches to their block.
        """
        numbers: dict[str, int] = {}
        count = 0
        for name, part in _parts(self, depth=1 if coarse else None):
            own = {f"{name}.{key}": parameter.ndim for key, parameter in part.named_parameters()}
            count += any(ndim >= 2 for ndim in own.values())
            numbers |= dict.fromkeys(own, max(count - 1, 0))
        return numbers.__getitem__

    def get_classifier(self) -> Any:
        """Return the last layer; some of timm's networks have two."""
        return self.fc

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new last layer in place."""
        self.num_classes = num_classes
        self.fc = nn.Linear(self.head_hidden_size, num_classes)


def _parts(module: nn.Module, depth: int | None, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the children of a module by name; in place of an `nn.Sequential` its own, `depth` times or all the way."""
    for key, child in module.named_children():
        if isinstance(child, nn.Sequential) and depth != 0:
            yield from _parts(child, None if depth is None else depth - 1, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", child


class PooledNetwork(Network):
    """A network that ends with a global average pool, dropout and a linear layer."""

    dropout: nn.Dropout

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Any:
        x = self.dropout(x.mean(dim=(2, 3)))
        return x if pre_logits else self.fc(x)

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new last layer in place; its weights are small, so the first loss is that of a uniform guess."""
        super().reset_classifier(num_classes)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[torch.device]:
    """Put a network in evaluation mode, without gradients, for a block that gets its device."""
    training = network.training
    try:
        with torch.no_grad():
            yield next(network.eval().parameters()).device
    finally:
        network.train(training)
