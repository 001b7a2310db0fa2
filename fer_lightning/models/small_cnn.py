"""SmallCNN: a plain convolutional network of 1.17 M parameters, made for faces of 48 to 64 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from fer_lightning.models.network import PooledNetwork


class SmallCNN(PooledNetwork):
    """One block a width (two 3×3 conv-BN-ReLU with 2×2 max-pool), global average pool, dropout, linear.

    Args:
        num_classes, in_channels: 1 or more.
        image_size: pixels a side of the images, `2 ** len(widths)` or more, since every block halves it.
        drop_rate: dropout before the last layer, in [0, 1).
        widths: channels of each block.

    Raises:
        ValueError: `widths` is empty or not positive, or `image_size` is too small for it.
    """

    def __init__(
        self,
        num_classes: int = 7,
        in_channels: int = 1,
        image_size: int = 48,
        drop_rate: float = 0.3,
        widths: Sequence[int] = (32, 64, 128, 256),
    ) -> None:
        super().__init__()
        self.blocks = conv_blocks("small_cnn", in_channels, image_size, widths)
        self.num_features = self.head_hidden_size = widths[-1]
        self.dropout = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Any:
        return self.blocks(x)


def conv_blocks(name: str, in_channels: int, image_size: int, widths: Sequence[int]) -> nn.Sequential:
    """Return the blocks of the network `name`, each of which halves the map; their weights are He-initialised.

    Raises:
        ValueError: `widths` is empty or not positive, or `image_size` is too small for it.
    """
    if len(widths) == 0 or min(widths) < 1:
        raise ValueError(f"widths must be one or more positive numbers of channels, got {list(widths)}")
    smallest = 2 ** len(widths)
    if image_size < smallest:
        raise ValueError(
            f"{name} halves its images {len(widths)} times: image_size must be {smallest} or more, got {image_size}; "
            f"type model.input_size={smallest}"
        )
    inputs = [in_channels, *widths[:-1]]
    blocks = nn.Sequential(*(conv_block(before, width) for before, width in zip(inputs, widths, strict=True)))
    for module in blocks.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return blocks


def conv_block(before: int, width: int) -> nn.Sequential:
    """Return two 3×3 conv-BN-ReLU with a 2×2 max-pool before the last ReLU; without biases, which BN would cancel."""
    return nn.Sequential(
        nn.Conv2d(before, width, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),  # after pooling: the same result from a quarter of the values
    )
