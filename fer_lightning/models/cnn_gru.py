"""CnnGRU: convolutions, then a recurrent layer that reads the last map row by row, from brow to chin and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from fer_lightning.models.network import Network
from fer_lightning.models.small_cnn import conv_blocks


class CnnGRU(Network):
    """The blocks of `SmallCNN`, a bidirectional GRU (Cho et al., 2014) over the rows, mean over rows, dropout, linear.

    At 48 px and with the defaults the map has 6 rows of 6 × 128 values: 978,343 parameters with 7 classes.

    Args:
        num_classes, in_channels: 1 or more.
        image_size: pixels a side of the images, `2 ** len(widths)` or more; fixes the length of a row, the GRU's input.
        drop_rate: dropout before the last layer, in [0, 1).
        widths: channels of each block, which halves the map.
        hidden: units of the GRU in each direction.

    Raises:
        ValueError: `widths` is empty or not positive, `hidden` is below 1, or `image_size` is too small for `widths`.
    """

    def __init__(
        self,
        num_classes: int = 7,
        in_channels: int = 1,
        image_size: int = 48,
        drop_rate: float = 0.3,
        widths: Sequence[int] = (32, 64, 128),
        hidden: int = 128,
    ) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden must be 1 or more, got {hidden}")
        self.blocks = conv_blocks("cnn_gru", in_channels, image_size, widths)
        row = widths[-1] * (image_size // 2 ** len(widths))
        self.gru = nn.GRU(row, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(drop_rate)
        self.num_features, self.head_hidden_size = widths[-1], 2 * hidden
        self.reset_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Any:
        return self.blocks(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Any:
        if x.shape[0] == 0:  # which a GRU does not take
            x = x.new_zeros((0, self.head_hidden_size))
        else:
            rows, _ = self.gru(x.permute(0, 2, 1, 3).flatten(2))  # (B, h, C·w)
            x = rows.mean(dim=1)
        x = self.dropout(x)
        return x if pre_logits else self.fc(x)
