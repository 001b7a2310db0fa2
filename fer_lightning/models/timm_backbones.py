"""Backbones from timm, adapted to small faces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import timm
from timm.layers.classifier import ClassifierHead
from timm.models import build_model_with_cfg
from timm.models.resnet import ResNet
from timm.models.vgg import VGG
from timm.models.vgg import cfgs as VGG_LAYERS
from torch import nn

from fer_lightning.core.errors import ConfigError, first_lines
from fer_lightning.core.suggestions import close_matches, did_you_mean
from fer_lightning.models.network import Network
from fer_lightning.models.weights.hub import pretrained_source, unreachable


def build_timm(name: str, download: bool, image_size: int, sizes: Mapping[str, Any], kwargs: dict[str, Any]) -> Network:
    """Build a network of timm's for images of `image_size`, with its pretrained weights if asked to `download`."""
    source = pretrained_source(name) if download else {}
    architecture, _, tag = name.partition(".")
    cfg = timm.get_pretrained_cfg(name)
    if cfg is not None and cfg.fixed_input_size:
        kwargs = {"img_size": image_size, **kwargs}  # a vision transformer has one position embedding a patch
    build: Any = _build_vgg if architecture.split("_")[0] in VGG_LAYERS else timm.create_model
    try:
        weights = {"pretrained": download, "pretrained_cfg": tag or None, "pretrained_cfg_overlay": source}
        return cast(Network, build(architecture, **weights, **sizes, **kwargs))
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

    unused_weights = (
        "pre_logits.",
        "classifier.",
    )  # of the dense part, in timm's and torchvision's files

    def __init__(
        self, cfg: list[Any], num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.0, **kwargs: Any
    ) -> None:
        # the dense part is replaced: one unit wide it costs nothing to make
        super().__init__(cfg, num_classes=num_classes, in_chans=in_chans, mlp_ratio=1 / 4096, **kwargs)
        self.pre_logits = nn.Identity()  # type: ignore[assignment]  # in place of timm's dense part
        self.head_hidden_size = self.num_features
        self.head = ClassifierHead(self.num_features, num_classes, pool_type="avg", drop_rate=drop_rate)


def _build_vgg(architecture: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    """Build a PooledVGG as timm builds its VGGs, from the convolutional part of their weights."""
    return build_model_with_cfg(
        PooledVGG,
        architecture,
        pretrained,
        model_cfg=VGG_LAYERS[architecture.split("_")[0]],
        norm_layer=nn.BatchNorm2d if architecture.endswith("_bn") else None,
        pretrained_filter_fn=lambda state: {key: state[key] for key in state if key.startswith("features.")},
        pretrained_strict=False,
        **kwargs,
    )


def shrink_stem(backbone: nn.Module, name: str, keep_kernel: bool) -> None:
    """Keep the resolution of small images, in place; a ValueError for what is neither a ResNet nor a VGG."""
    if isinstance(backbone, PooledVGG):
        backbone.features[-1] = nn.Identity()
    elif isinstance(backbone, ResNet):
        deep = isinstance(backbone.conv1, nn.Sequential)  # three 3×3 convolutions, as in resnet50d
        first: nn.Conv2d = backbone.conv1[0] if deep else backbone.conv1  # type: ignore[assignment]  # by `deep`
        first.stride = (1, 1)
        if not deep:
            if not keep_kernel:
                _resize_kernel(first, 3)
                nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
            # a checkpoint of a run that started from ImageNet's 7×7 kernel brings that kernel
            first.register_load_state_dict_pre_hook(_match_kernel)  # type: ignore[no-untyped-call]  # torch's
        backbone.maxpool = nn.Identity()  # type: ignore[assignment]  # in place of timm's pooling
    else:
        hint = "type model.stem=imagenet, or model.input_size=96"
        raise ValueError(f"stem=small is for ResNets and VGGs, not {name}; {hint}")


def _resize_kernel(convolution: nn.Conv2d, size: int) -> None:
    """Give a convolution a square kernel of odd `size`, with weights yet to be filled in, in place."""
    convolution.kernel_size, convolution.padding = (size, size), (size // 2, size // 2)
    convolution.weight = nn.Parameter(convolution.weight.new_empty(*convolution.weight.shape[:2], size, size))


def _match_kernel(convolution: nn.Conv2d, state_dict: Mapping[str, Any], prefix: str, *_: Any) -> None:
    """Take the kernel size of the weights to be loaded."""
    weight = state_dict.get(f"{prefix}weight")
    if weight is not None and weight.shape[-1] != convolution.kernel_size[0]:
        _resize_kernel(convolution, weight.shape[-1])


def check_timm_name(name: str, others: Iterable[str]) -> None:
    """Raise a ConfigError with near names, of timm's networks and of `others`, unless timm has `name` and its tag."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        hint = did_you_mean(architecture, [*others, *timm.list_models()])
        raise ConfigError(f"model.backbone={name} is unknown{hint if hint else '; timm.list_models() lists all names'}")
    if tag:
        names = timm.list_models(f"{architecture}.*", pretrained=True)
        if name not in names:
            near = close_matches(name, names, cutoff=0.0)  # of one network: all of them are near
            hint = f"did you mean {' or '.join(near)}?" if near else f"type model.backbone={architecture}"
            raise ConfigError(f"model.backbone={name}: {architecture} has no weights of that tag; {hint}")
