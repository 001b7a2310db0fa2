"""build_backbone: one contract for every network, stems and names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fer_lightning.core.errors import ConfigError
from fer_lightning.models.backbones import build_backbone
from fer_lightning.models.heads import backbone_parameters, freeze, head_logits, head_parameters, splits_at_head

CONFIGURED = ["small_cnn", "keras_cnn", "cnn_gru", "vgg16", "resnet50"]  # conf/model
OTHERS = ["resnet10t", "vgg11_bn", "test_vit", "convnext_atto", "lcnet_035", "deit_tiny_distilled_patch16_224"]


def build(name: str, **settings: Any) -> nn.Module:
    return build_backbone(name, **({"num_classes": 7, "in_channels": 1, "image_size": 48} | settings))


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", CONFIGURED + OTHERS)
def test_contract(name: str) -> None:
    torch.manual_seed(0)
    network, images = build(name, in_channels=3, num_classes=5), torch.randn(2, 3, 48, 48)
    assert network.training
    network.eval()
    with torch.no_grad():
        logits = network(images)
        assert logits.shape == (2, 5)
        assert network.forward_head(network.forward_features(images), pre_logits=True).shape[0] == 2
        assert splits_at_head(network, (3, 48, 48)) is ("distilled" not in name)  # it has two last layers
        contiguous = network.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
        torch.testing.assert_close(contiguous, logits, rtol=1e-3, atol=1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert network(images).isfinite().all()
        assert network(images[:1]).shape == (1, 5)
        if name not in ("test_vit", "deit_tiny_distilled_patch16_224"):  # timm's attention cannot reshape nothing
            assert network(images[:0]).shape == (0, 5)
    network.reset_classifier(3)
    assert network(images).shape == (2, 3)
    assert network.num_features > 0


@pytest.mark.parametrize("name", CONFIGURED + OTHERS)
def test_head_and_rest_are_all(name: str) -> None:
    network = build(name)
    head, rest = head_parameters(network), backbone_parameters(network)
    assert len(head) == (4 if "distilled" in name else 2)  # weights and biases of one last layer, or two
    assert all(parameter.shape[0] == 7 for parameter in head)
    assert {id(p) for p in head} | {id(p) for p in rest} == {id(p) for p in network.parameters()}
    assert len(head) + len(rest) == len(list(network.parameters()))


@pytest.mark.parametrize(
    ("name", "always"),
    [
        *((name, True) for name in (*CONFIGURED, "mobilenetv3_small_050", "convnext_atto", "test_vit")),
        ("small_cnn", False),
        ("mobilenetv3_small_050", False),
    ],
)
def test_nothing_but_the_last_layer_of_a_frozen_network_learns(name: str, always: bool) -> None:
    network = build(name)
    freeze(network, name, (1, 48, 48), always=always)
    logits = head_logits(network.eval(), torch.randn(2, 1, 48, 48), drop_rate=0.0)
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in head_parameters(network))
    assert all(parameter.grad is None for parameter in backbone_parameters(network))
    assert {parameter.requires_grad for parameter in backbone_parameters(network)} == {not always}


def test_a_network_whose_last_layer_cannot_learn_by_itself_is_refused() -> None:
    name = "deit_tiny_distilled_patch16_224"
    with pytest.raises(ConfigError, match=rf"{name} cannot be trained by itself; type model\.freeze_backbone=false"):
        freeze(build(name), name, (1, 48, 48), always=False)


def test_a_network_that_does_not_split_at_its_head_is_found_out() -> None:
    class Odd(type(build("small_cnn"))):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 1

    network = Odd()
    assert not splits_at_head(network, (1, 48, 48))
    assert network.training


def test_sizes() -> None:
    assert size(build("small_cnn")) == 1_174_439
    assert size(build("keras_cnn")) == 4_474_759
    assert size(build("vgg16")) == 14_717_127  # 134 M with timm's own head
    assert 23.4e6 < size(build("resnet50")) < 23.6e6


@pytest.mark.parametrize(
    ("name", "imagenet", "small"), [("resnet18", 2, 6), ("resnet10t", 2, 6), ("vgg11", 1, 3), ("vgg11_bn", 1, 3)]
)
def test_small_stem_keeps_resolution(name: str, imagenet: int, small: int) -> None:
    images = torch.randn(1, 1, 48, 48)
    for stem, side in (("imagenet", imagenet), ("small", small)):
        network = build(name, stem=stem).eval()
        assert network.forward_features(images).shape[-2:] == (side, side)
        assert splits_at_head(network, (1, 48, 48))


def test_small_stem_of_a_resnet_has_a_small_kernel() -> None:
    network = build("resnet18", stem="small")
    assert network.conv1.weight.shape == (64, 1, 3, 3)
    assert network.conv1.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.15)  # Kaiming, fan-out


@pytest.mark.parametrize("name", ["small_cnn", "lcnet_035"])
def test_small_stem_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"stem=small is for ResNets and VGGs, not .*type model\.stem=imagenet"):
        build(name, stem="small")
    with pytest.raises(ValueError, match="stem=tiny: choose one of imagenet, small"):
        build(name, stem="tiny")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet51", "resnet50"),
        ("ResNet50", "did you mean resnet50"),
        ("smallcnn", "small_cnn"),
        ("vgg_16", "vgg16"),
        ("resnet50.a1_in2k", r"did you mean resnet50\.a\w+ or "),
        ("vgg16.in1k", "type model.backbone=vgg16|vgg16.tv_in1k"),
        ("/home/me/net.pth", "model.backbone=/home/me/net.pth is unknown"),
    ],
)
def test_unknown_names_suggest_near_ones(name: str, near: str) -> None:
    for pretrained in (False, True):
        with pytest.raises(ConfigError, match=near):
            build(name, pretrained=pretrained)


def test_backbone_kwargs_reach_the_network() -> None:
    assert build("small_cnn", backbone_kwargs={"widths": [8, 16]}).num_features == 16
    assert build("resnet18", backbone_kwargs={"block_args": {"attn_layer": "se"}}).layer1[0].se is not None


@pytest.mark.parametrize("name", ["small_cnn", "keras_cnn", "resnet18", "vgg11"])
@pytest.mark.parametrize("argument", ["widht", "num_classes"])
def test_wrong_backbone_kwargs_are_named(name: str, argument: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.backbone_kwargs=.*{argument}.* does not suit {name}"):
        build(name, backbone_kwargs={argument: 3})


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "lcnet_035", "small_cnn", "keras_cnn"])
def test_drop_rate_reaches_the_network(name: str) -> None:
    rates = {module.p for module in build(name, drop_rate=0.4).modules() if isinstance(module, nn.Dropout)}
    assert rates == {0.4} or build(name, drop_rate=0.4).drop_rate == 0.4


@pytest.mark.parametrize(("name", "image_size"), [("dla46x_c", 48), ("vgg11", 16)])
def test_images_too_small_for_a_network_are_refused_at_once(name: str, image_size: int) -> None:
    message = rf"{name} cannot take 1×{image_size}×{image_size} images .*type model\.input_size=224"
    with pytest.raises(ConfigError, match=message):
        build(name, image_size=image_size)


def test_building_leaves_no_trace_in_batch_norm() -> None:
    network = build("small_cnn")
    assert all(module.num_batches_tracked == 0 for module in network.modules() if isinstance(module, nn.BatchNorm2d))


@pytest.mark.parametrize("channel", [0, -1])
def test_ranges(channel: int) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        build("small_cnn", in_channels=channel)
    with pytest.raises(ValueError, match="must be 1 or more"):
        build("small_cnn", num_classes=channel)
