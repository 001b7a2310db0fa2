"""SmallCNN and KerasCNN: sizes, shapes, timm's contract, memory formats, precision, start, and whether they learn."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fer_lightning.models.keras_cnn import KerasCNN
from fer_lightning.models.small_cnn import SmallCNN

NETWORKS = [SmallCNN, KerasCNN]


def trainable(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def test_sizes() -> None:
    assert trainable(SmallCNN()) == 1_174_439
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
    assert features.shape == (batch, net.num_features, 3, 3)
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


@pytest.mark.parametrize("size", [16, 31, 48, 64])
def test_the_keras_network_takes_any_size_from_16(size: int) -> None:
    assert KerasCNN(image_size=size).eval()(torch.zeros(1, 1, size, size)).shape == (1, 7)


@pytest.mark.parametrize("network", NETWORKS)
def test_images_smaller_than_16_are_refused(network: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"image_size must be 16 or more, got 15; type model\.input_size=16"):
        network(image_size=15)


@pytest.mark.parametrize("widths", [(), (32, 0)])
def test_the_small_network_refuses_impossible_widths(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="widths"):
        SmallCNN(widths=widths)


def test_widths_may_be_a_list_of_any_length() -> None:
    net = SmallCNN(widths=[8, 16]).eval()
    assert net.forward_features(torch.zeros(1, 1, 48, 48)).shape == (1, 16, 12, 12)


def test_the_start_keeps_the_signal_and_guesses_uniformly() -> None:
    torch.manual_seed(0)
    net, images = SmallCNN().train(), torch.randn(64, 1, 48, 48)
    deviations = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _m, _i, output: deviations.append(output.std().item()))
    loss = F.cross_entropy(net(images), torch.arange(64) % 7)
    assert loss.item() == pytest.approx(math.log(7), abs=0.1)
    assert all(0.2 < deviation < 2 for deviation in deviations), deviations


def test_dropout_acts_in_training_only() -> None:
    images = torch.randn(4, 1, 48, 48)
    for net in (SmallCNN(drop_rate=0.5), KerasCNN(drop_rate=0.5)):
        net.eval()
        assert torch.equal(net(images), net(images))
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.train()
        assert not torch.equal(net(images), net(images))


@pytest.mark.parametrize(
    ("network", "settings", "rate"),
    [(SmallCNN, {"widths": (16, 32, 64, 64)}, 3e-3), (KerasCNN, {"image_size": 16}, 1e-3)],
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
