"""Our own networks: sizes, shapes, timm's contract, memory formats, precision, start, and whether they learn."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fer_lightning.models.cnn_gru import CnnGRU
from fer_lightning.models.compact_cnn import CompactCNN
from fer_lightning.models.keras_cnn import KerasCNN
from fer_lightning.models.small_cnn import SmallCNN

NETWORKS = [SmallCNN, CompactCNN, KerasCNN, CnnGRU]
SIDES = {SmallCNN: 3, CompactCNN: 3, KerasCNN: 3, CnnGRU: 6}  # of the last map at 48 px
SMALLEST = {SmallCNN: 16, CompactCNN: 16, KerasCNN: 16, CnnGRU: 8}


def trainable(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def test_sizes() -> None:
    assert trainable(SmallCNN()) == 1_174_439
    assert trainable(CompactCNN()) == 1_755_495
    assert trainable(CnnGRU()) == 978_343
    assert trainable(KerasCNN()) == 4_474_759  # what Keras's summary of the Kaggle network prints


def test_the_small_network_is_four_blocks_of_two_convolutions() -> None:
    convolutions = [module for module in SmallCNN().modules() if isinstance(module, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [32, 32, 64, 64, 128, 128, 256, 256]
    assert {c.kernel_size for c in convolutions} == {(3, 3)}


def test_the_keras_network_is_that_of_the_notebooks() -> None:
    network = KerasCNN()
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size[0]) for c in convolutions] == [(64, 3), (128, 5), (512, 3), (512, 3)]
    assert [m.out_features for m in network.modules() if isinstance(m, nn.Linear)] == [256, 512, 7]
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.25] * 6


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_shapes_and_contract(network: type[nn.Module], channels: int, batch: int) -> None:
    net = network(5, channels).eval()
    images = torch.randn(batch, channels, 48, 48)
    with torch.no_grad():
        features = net.forward_features(images)
        logits = net.forward_head(features)
        hidden = net.forward_head(features, pre_logits=True)
        torch.testing.assert_close(net(images), logits)
        torch.testing.assert_close(net.get_classifier()(hidden), logits)
    assert features.shape == (batch, net.num_features, SIDES[network], SIDES[network])
    assert hidden.shape == (batch, net.head_hidden_size)
    assert logits.shape == (batch, 5)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_classifier_can_be_replaced(network: type[nn.Module]) -> None:
    net = network(7).eval()
    net.reset_classifier(3)
    assert net.num_classes == 3
    assert net(torch.zeros(2, 1, 48, 48)).shape == (2, 3)


@pytest.mark.parametrize("network", NETWORKS)
def test_channels_last_gives_the_same_logits(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net, images = network().eval(), torch.randn(4, 1, 48, 48)
    with torch.no_grad():
        before = net(images)
        after = net.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_trains_under_bf16_autocast(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net = network().to(memory_format=torch.channels_last).train()
    images = torch.randn(4, 1, 48, 48).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(images)
    assert logits.dtype == torch.bfloat16
    F.cross_entropy(logits.float(), torch.tensor([0, 1, 2, 3])).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize("network", NETWORKS)
def test_any_size_from_the_smallest_on_is_taken(network: type[nn.Module]) -> None:
    smallest = SMALLEST[network]
    for size in (smallest, 31, 48, 64):
        assert network(image_size=size).eval()(torch.zeros(1, 1, size, size)).shape == (1, 7)
    message = rf"image_size must be {smallest} or more, got {smallest - 1}; type model\.input_size={smallest}"
    with pytest.raises(ValueError, match=message):
        network(image_size=smallest - 1)


@pytest.mark.parametrize("network", NETWORKS)
def test_can_be_exported(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net, images = network(image_size=16).eval(), torch.randn(2, 1, 16, 16)
    exported = torch.export.export(net, (images,))
    torch.testing.assert_close(exported.module()(images), net(images))
    traced = torch.jit.trace(net, images)
    torch.testing.assert_close(traced(images[:1]), net(images[:1]))


def test_the_recurrent_layer_reads_rows_in_order() -> None:
    torch.manual_seed(0)
    net, map_ = CnnGRU().eval(), torch.randn(1, 128, 6, 6)
    turned, mirrored = net.forward_head(map_.flip(2)), net.forward_head(map_.flip(3))
    for other in (turned, mirrored):  # an average over the map would not notice either
        assert not torch.allclose(other, net.forward_head(map_), atol=1e-3)


@pytest.mark.parametrize("network", [SmallCNN, CnnGRU])
@pytest.mark.parametrize("widths", [(), (32, 0)])
def test_impossible_widths_are_refused(network: type[nn.Module], widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="widths"):
        network(widths=widths)
    with pytest.raises(ValueError, match="hidden must be 1 or more"):
        CnnGRU(hidden=0)


def test_widths_may_be_a_list_of_any_length() -> None:
    net = SmallCNN(widths=[8, 16]).eval()
    assert net.forward_features(torch.zeros(1, 1, 48, 48)).shape == (1, 16, 12, 12)


@pytest.mark.parametrize("network", [SmallCNN, CompactCNN, CnnGRU])
def test_the_start_keeps_the_signal_and_guesses_uniformly(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net, images = network().train(), torch.randn(64, 1, 48, 48)
    deviations = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _m, _i, output: deviations.append(output.std().item()))
    loss = F.cross_entropy(net(images), torch.arange(64) % 7)
    assert loss.item() == pytest.approx(math.log(7), abs=0.1)
    assert all(0.2 < deviation < 2 for deviation in deviations), deviations


def test_dropout_acts_in_training_only() -> None:
    images = torch.randn(4, 1, 48, 48)
    for net in (network(drop_rate=0.5) for network in NETWORKS):
        net.eval()
        assert torch.equal(net(images), net(images))
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.train()
        assert not torch.equal(net(images), net(images))


@pytest.mark.parametrize(
    ("network", "settings", "rate"),
    [
        (SmallCNN, {"widths": (16, 32, 64, 64)}, 3e-3),
        (KerasCNN, {"image_size": 16}, 1e-3),
        (CnnGRU, {"image_size": 16}, 3e-3),
    ],
)
def test_learns_a_batch_by_heart(network: type[nn.Module], settings: dict[str, object], rate: float) -> None:
    torch.manual_seed(0)
    net = network(drop_rate=0.0, **settings)
    images, labels = torch.randn(14, 1, 16, 16), torch.arange(14) % 7
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        optimizer.step()
    assert (net.eval()(images).argmax(dim=1) == labels).all()
