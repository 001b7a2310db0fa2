"""One name in, one network out: ours, or any of timm's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.layers import ClassifierHead
from timm.models import build_model_with_cfg
from timm.models.resnet import ResNet
from timm.models.vgg import VGG
from timm.models.vgg import cfgs as VGG_LAYERS
from torch import Tensor, nn

from fer_lightning.errors import ConfigError
from fer_lightning.models.keras_cnn import KerasCNN
from fer_lightning.models.pretrained import first_lines, load_weights, pretrained_source, unreachable
from fer_lightning.models.small_cnn import SmallCNN
from fer_lightning.near import did_you_mean, near_names

OWN = ("small_cnn", "keras_cnn")
STEMS = ("imagenet", "small")


def build_backbone(
    name: str,
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    pretrained: bool = False,
    weights: str | None = None,
    drop_rate: float = 0.0,
    stem: str = "imagenet",
    backbone_kwargs: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a network that maps pixels float `(B, in_channels, image_size, image_size)` to logits `(B, num_classes)`.

    All follow timm's contract: `num_features`, `forward_features`, `forward_head`, `get_classifier` and
    `reset_classifier`. VGGs get a global average pool and a linear layer in place of their 120 M-parameter dense part.

    Args:
        name: `small_cnn`, `keras_cnn` or any timm name, with or without a tag (`resnet50.a1_in1k`).
        num_classes: number of outputs.
        in_channels: of the images.
        image_size: pixels a side of the images.
        pretrained: start from timm's weights, downloaded unless they already lie in the hub's cache.
        weights: start from this file instead, a state dict in timm's layout; see `load_weights`.
        drop_rate: dropout before the last layer (in `keras_cnn`: every dropout), in [0, 1).
        stem: `imagenet`, the network as it is; or `small`, which keeps the resolution of small faces: a ResNet's first
            convolution gets stride 1 (and, unless it comes with weights, a 3×3 kernel) and its max-pool goes; a VGG
            loses its last max-pool.
        backbone_kwargs: further arguments of the network's constructor.

    Raises:
        ConfigError: unknown name, weights that cannot be had, arguments or images that the network cannot take.
        ValueError: an argument is out of its range, or this network has no small stem.
    """
    if num_classes < 1 or in_channels < 1:
        raise ValueError(f"num_classes and in_channels must be 1 or more, got {num_classes} and {in_channels}")
    if stem not in STEMS:
        raise ValueError(f"stem must be one of {', '.join(STEMS)}; got {stem!r}")
    check_name(name)
    download = pretrained and weights is None
    kwargs = {} if backbone_kwargs is None else dict(backbone_kwargs)
    try:
        if name in OWN:
            if download:
                raise ConfigError(f"model.backbone={name} has no pretrained weights; type model.pretrained=false")
            sized = {"image_size": image_size} if name == "keras_cnn" else {}
            network = KerasCNN if name == "keras_cnn" else SmallCNN
            backbone = network(num_classes, in_channels, drop_rate=drop_rate, **sized, **kwargs)
        else:
            shape = {"num_classes": num_classes, "in_chans": in_channels, "drop_rate": drop_rate}
            backbone = build_timm(name, image_size, download, shape, kwargs)
    except TypeError as error:
        raise ConfigError(f"model.backbone_kwargs={kwargs} does not suit {name}: {first_lines(error)}") from error
    if stem == "small":
        shrink_stem(backbone, name, keep_kernel=download)
    if weights is not None:
        unused = ("pre_logits.",) if isinstance(backbone, PooledVGG) else ()
        load_weights(backbone, weights, in_channels, unused)
    try_out(backbone, name, (1, in_channels, image_size, image_size), num_classes)
    return backbone


def build_timm(name: str, image_size: int, download: bool, shape: dict[str, Any], kwargs: dict[str, Any]) -> nn.Module:
    """Build a network of timm's, with its pretrained weights if asked to `download`."""
    source = pretrained_source(name) if download else {}
    architecture, _, tag = name.partition(".")
    cfg = timm.get_pretrained_cfg(name)
    if cfg is not None and cfg.fixed_input_size and "img_size" not in kwargs:
        kwargs = {**kwargs, "img_size": image_size}  # a vision transformer has one position embedding a patch
    options = {"pretrained": download, "pretrained_cfg": tag if tag else None, "pretrained_cfg_overlay": source}
    try:
        if architecture.split("_")[0] in VGG_LAYERS:
            return build_vgg(architecture, **options, **shape, **kwargs)
        return timm.create_model(architecture, **options, **shape, **kwargs)
    except TypeError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {first_lines(error)}"
        if download and not source:
            raise unreachable(name, reason) from error
        origin = f" with weights from {source['file']}" if source else ""
        raise ConfigError(f"model.backbone={name} cannot be built for {image_size} px{origin} ({reason})") from error


class PooledVGG(VGG):
    """timm's VGG with global average pool, dropout and a linear layer as its head."""

    def __init__(
        self, cfg: list[Any], num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.0, **kwargs: Any
    ) -> None:
        # the dense part is thrown away: one unit wide it costs nothing to make
        super().__init__(cfg, num_classes=num_classes, in_chans=in_chans, mlp_ratio=1 / 4096, **kwargs)
        self.pre_logits = nn.Identity()
        self.head_hidden_size = self.num_features
        self.head = ClassifierHead(self.num_features, num_classes, pool_type="avg", drop_rate=drop_rate)


def build_vgg(architecture: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    """Build a PooledVGG as timm builds its VGGs."""
    return build_model_with_cfg(
        PooledVGG,
        architecture,
        pretrained,
        model_cfg=VGG_LAYERS[architecture.split("_")[0]],
        norm_layer=nn.BatchNorm2d if architecture.endswith("_bn") else None,
        pretrained_filter_fn=keep_features,
        pretrained_strict=False,
        **kwargs,
    )


def keep_features(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the convolutional part of a VGG's weights."""
    return {key: value for key, value in state_dict.items() if key.startswith("features.")}


def shrink_stem(backbone: nn.Module, name: str, keep_kernel: bool) -> None:
    """Keep the resolution of small images, in place.

    Raises:
        ValueError: the network is neither a ResNet nor a VGG.
    """
    if isinstance(backbone, PooledVGG):
        backbone.features[-1] = nn.Identity()
    elif isinstance(backbone, ResNet):
        deep = isinstance(backbone.conv1, nn.Sequential)  # three 3×3 convolutions, as in resnet50d
        first = backbone.conv1[0] if deep else backbone.conv1
        first.stride = (1, 1)
        if not deep:
            if not keep_kernel:
                resize_kernel(first, 3)
                nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
            # a run that started from ImageNet's 7×7 is reloaded without them: the kernel follows what is loaded
            first.register_load_state_dict_pre_hook(match_kernel)
        backbone.maxpool = nn.Identity()
    else:
        raise ValueError(
            f"stem=small is for ResNets and VGGs, not {name}; type model.stem=imagenet, or model.input_size=96"
        )


def resize_kernel(convolution: nn.Conv2d, size: int) -> None:
    """Give a convolution a square kernel of odd `size`, with weights yet to be filled in, in place."""
    convolution.kernel_size, convolution.padding = (size, size), (size // 2, size // 2)
    convolution.weight = nn.Parameter(convolution.weight.new_empty(*convolution.weight.shape[:2], size, size))


def match_kernel(convolution: nn.Conv2d, state_dict: Mapping[str, Any], prefix: str, *_: Any) -> None:
    """Before loading: take the kernel size of the weights to be loaded."""
    weight = state_dict.get(f"{prefix}weight")
    if weight is not None and weight.shape[-1] != convolution.kernel_size[0]:
        resize_kernel(convolution, weight.shape[-1])


def check_name(name: str) -> None:
    """Raise a ConfigError with near names unless `name` is a network of ours or timm's, and its tag exists."""
    if name in OWN:
        return
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        hint = did_you_mean(architecture, [*OWN, *timm.list_models()])
        raise ConfigError(f"model.backbone={name} is unknown{hint if hint else '; timm.list_models() lists all names'}")
    if tag:
        names = timm.list_models(f"{architecture}.*", pretrained=True)
        if name not in names:
            near = near_names(name, names, cutoff=0.0)  # of one network: any is worth naming
            hint = f"did you mean {' or '.join(near)}?" if near else f"type model.backbone={architecture}"
            raise ConfigError(f"model.backbone={name}: {architecture} has no weights of that tag; {hint}")


def try_out(backbone: nn.Module, name: str, shape: tuple[int, int, int, int], num_classes: int) -> None:
    """Send one image of `shape` through, in evaluation mode, and raise a ConfigError if logits do not come out."""
    training, device = backbone.training, next(backbone.parameters()).device
    try:
        with torch.no_grad():
            logits = backbone.eval()(torch.zeros(shape, device=device))
    except Exception as error:  # networks say in many ways that an image is too small
        reason = f"{type(error).__name__}: {first_lines(error)}"
        made_for = getattr(backbone, "pretrained_cfg", {}).get("input_size", (3, 224, 224))[-1]
        advice = f"type model.input_size={made_for}, or another model.backbone"
        size = "×".join(str(side) for side in shape[1:])
        raise ConfigError(f"model.backbone={name} cannot take {size} images ({reason}); {advice}") from error
    finally:
        backbone.train(training)
    if not isinstance(logits, Tensor) or logits.shape != (1, num_classes):
        raise ConfigError(f"model.backbone={name} gives no logits (1, {num_classes}); it is no classifier of images")
