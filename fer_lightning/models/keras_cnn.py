"""KerasCNN: the network of many Kaggle notebooks on facial expressions, layer for layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fer_lightning.models.dropout import Dropout
from fer_lightning.models.network import Network

CONVOLUTIONS = ((64, 3), (128, 5), (512, 3), (512, 3))  # (filters, kernel size)
DENSE = (256, 512)


class KerasCNN(Network):
    """Four convolutions and two dense layers, each with BN, ReLU and dropout; a 2×2 max-pool after each convolution.

    As in Keras, layers before a BN keep their biases, weights start Glorot-uniform and BN's ε is 1e-3: 4,474,759
    trainable parameters at 48×48 grey and 7 classes. BN's momentum is PyTorch's 0.1, not the 0.01 that Keras calls
    0.99: the same in the long run, and accurate statistics after a few hundred steps.

    Args:
        num_classes, in_channels: 1 or more.
        image_size: pixels a side of the images, 16 or more; fixes the width of the first dense layer's input.
        drop_rate: every dropout, in [0, 1).

    Raises:
        ValueError: `image_size` is below 16.
    """

    def __init__(
        self, num_classes: int = 7, in_channels: int = 1, image_size: int = 48, drop_rate: float = 0.25
    ) -> None:
        super().__init__()
        if image_size < 16:
            raise ValueError(
                f"keras_cnn halves its images 4 times: image_size must be 16 or more, got {image_size}; "
                "type model.input_size=16"
            )
        layers: list[nn.Module] = []
        before = in_channels
        for filters, kernel_size in CONVOLUTIONS:
            layers += [
                nn.Conv2d(before, filters, kernel_size, padding="same"),
                nn.BatchNorm2d(filters, eps=1e-3),
                nn.MaxPool2d(2),
                nn.ReLU(inplace=True),  # after pooling: the same result from a quarter of the values
                Dropout(drop_rate),
            ]
            before = filters
        self.features = nn.Sequential(*layers)
        layers = [nn.Flatten()]
        before *= (image_size // 2 ** len(CONVOLUTIONS)) ** 2
        for width in DENSE:
            normalized = nn.BatchNorm1d(width, eps=1e-3)
            layers += [nn.Linear(before, width), normalized, nn.ReLU(inplace=True), Dropout(drop_rate)]
            before = width
        self.dense = nn.Sequential(*layers)
        self.num_features, self.head_hidden_size = CONVOLUTIONS[-1][0], DENSE[-1]
        self.apply(init_like_keras)
        self.reset_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Any:
        return self.features(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Any:
        x = self.dense(x)
        return x if pre_logits else self.fc(x)

    def reset_classifier(self, num_classes: int) -> None:
        super().reset_classifier(num_classes)
        init_like_keras(self.fc)


def init_like_keras(module: nn.Module) -> None:
    """Initialise a layer as Keras does: Glorot-uniform weights (Glorot & Bengio, 2010), biases of 0."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
