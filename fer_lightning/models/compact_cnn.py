"""CompactCNN: 3×3 convolutions for faces of 48 to 64 pixels, with options that cost little or nothing once trained."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from fer_lightning.core.choices import check_choices
from fer_lightning.models.conv_block import ConvBlock, SqueezeExcite
from fer_lightning.models.network import PooledNetwork
from fer_lightning.models.whitening import Whitening

FirstLayer = Literal["plain", "whitened"]


class CompactCNN(PooledNetwork):
    """Stages of `ConvBlock`s, which end with a 2×2 max-pool; global average pool, dropout, linear.

    At 48 px and with the defaults 1.76 M parameters and 117 M multiply-adds.

    Args:
        num_classes, in_channels: 1 or more.
        image_size: pixels a side of the images, `stem_stride` times 2 for each pool, or more.
        drop_rate: dropout before the last layer, in [0, 1).
        widths: channels of each stage.
        depths: convolutions of each stage.
        final_pool: pool at the end of the last stage, too.
        squeeze_excite: hidden units over channels of a `SqueezeExcite` at the end of each stage, in (0, 1]; 0 for none.
        branches: train RepVGG branches beside each 3×3 convolution but the first, on whose large map they would take
            more time than all others; `fused` merges them.
        residual: add the input of each 3×3 convolution that keeps the number of channels; `fused` merges it, too.
        drop_path: rate of stochastic depth, in [0, 1), of the last block; it grows linearly from 0 at the first. Only
            blocks that keep the number of channels have a way around.
        stem: `plain`, nothing; or `whitened`, a `Whitening` layer, which `prepare` fits to the images.
        stem_stride: 1, or 2 to halve the map in the whitened stem.
        dirac: 3×3 convolutions start by copying their inputs to their first outputs (airbench).

    Raises:
        ValueError: an argument is out of its range or goes with another one, or `image_size` is too small.
    """

    def __init__(
        self,
        num_classes: int = 7,
        in_channels: int = 1,
        image_size: int = 48,
        drop_rate: float = 0.3,
        *,
        widths: Sequence[int] = (32, 64, 128, 256),
        depths: Sequence[int] = (1, 2, 2, 3),
        final_pool: bool = True,
        squeeze_excite: float = 0.0,
        branches: bool = False,
        residual: bool = False,
        drop_path: float = 0.0,
        stem: FirstLayer = "plain",
        stem_stride: int = 1,
        dirac: bool = False,
    ) -> None:
        super().__init__()
        check_choices(CompactCNN.__init__, {"stem": stem}, prefix="model.backbone_kwargs.")
        if len(widths) == 0 or len(widths) != len(depths) or min(*widths, *depths) < 1:
            raise ValueError(
                "widths and depths must be equally many positive numbers, one of each a stage, "
                f"got widths={list(widths)} and depths={list(depths)}"
            )
        if isinstance(squeeze_excite, bool) or not 0 <= squeeze_excite <= 1:  # true is no 1.0
            raise ValueError(f"squeeze_excite must be a fraction in [0, 1], such as 0.25, got {squeeze_excite}")
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path must be in [0, 1), got {drop_path}")
        if branches and residual:
            raise ValueError("branches=true has the identity of residual=true: leave out one of them")
        if drop_path > 0 and not (branches or residual):
            raise ValueError(f"drop_path={drop_path} needs a way around: add residual=true or branches=true")
        if stem_stride not in (1, 2) or (stem_stride == 2 and stem == "plain"):
            raise ValueError(f"stem_stride must be 1, or 2 with stem=whitened; got {stem_stride} with stem={stem}")
        pools = [True] * (len(widths) - 1) + [final_pool]
        smallest = stem_stride * 2 ** sum(pools)
        if image_size < smallest:
            raise ValueError(
                f"compact_cnn halves its images {smallest.bit_length() - 1} times: image_size must be {smallest} or "
                f"more, got {image_size}; type model.input_size={smallest}"
            )
        self.stem = Whitening(in_channels, stem_stride) if stem == "whitened" else nn.Identity()
        before = self.stem.width if isinstance(self.stem, Whitening) else in_channels
        stages: list[nn.Module] = []
        rates = iter(_rising(drop_path, sum(depths)))
        for width, depth, pool in zip(widths, depths, pools, strict=True):
            layers: list[nn.Module] = []
            for number in range(1, depth + 1):
                layers.append(
                    ConvBlock(
                        before,
                        width,
                        pool=pool and number == depth,
                        branches=branches and bool(stages or layers),
                        residual=residual,
                        drop_path=next(rates),
                        dirac=dirac,
                    )
                )
                before = width
            if squeeze_excite > 0:
                layers.append(SqueezeExcite(width, squeeze_excite))
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.num_features = self.head_hidden_size = widths[-1]
        self.dropout = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Any:
        return self.stages(self.stem(x))

    def prepare(self, pixels: Tensor) -> None:
        if isinstance(self.stem, Whitening):
            self.stem.prepare(pixels)

    def fused(self) -> CompactCNN:
        network = copy.deepcopy(self).eval()
        for stage in network.stages.children():
            for name, layer in [*stage.named_children()]:
                if isinstance(layer, ConvBlock):
                    setattr(stage, name, layer.fused())
        return network.eval()


def _rising(last: float, count: int) -> list[float]:
    """Return `count` rates that rise linearly from 0 to `last`."""
    return [last * position / max(1, count - 1) for position in range(count)]
