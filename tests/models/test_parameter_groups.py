"""Parameter groups: timm's for its networks, and rates and decays that compose."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import nn

from fer_lightning.models.backbones import build_backbone
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.heads import backbone_parameters, head_parameters
from fer_lightning.models.optimizers.muon import Muon
from fer_lightning.models.parameter_groups import hidden_weights, layer_numbers, parameter_groups


def build(name: str, **options: Any) -> Any:
    return build_backbone(name, num_classes=7, in_channels=1, image_size=48, backbone_kwargs=options)


def by_parameter(groups: list[dict[str, Any]]) -> dict[int, tuple[float, bool]]:
    """Return scale of the rate, and whether weight decay is off, of each parameter."""
    return {
        id(parameter): (group.get("lr_scale", 1.0), group.get("weight_decay", 0.1) == 0)
        for group in groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize("name", ["resnet10t", "test_vit", "vgg11", "legacy_seresnet18", "small_cnn", "compact_cnn"])
def test_rates_and_decays_are_those_of_timm(name: str) -> None:
    network = build(name)
    tables = network.no_weight_decay() if hasattr(network, "no_weight_decay") else ()
    options: dict[str, Any] = {"weight_decay": 0.1, "no_weight_decay_list": tables}
    ours = parameter_groups(network, layer_decay=0.7, weight_decay_exclude_1d=True)
    assert by_parameter(ours) == by_parameter(param_groups_layer_decay(network, layer_decay=0.7, **options))
    ours = parameter_groups(network, weight_decay_exclude_1d=True)
    assert by_parameter(ours) == by_parameter(param_groups_weight_decay(network, **options))


@pytest.mark.parametrize("name", ["small_cnn", "resnet10t"])
def test_the_default_is_one_group_in_the_order_of_earlier_checkpoints(name: str) -> None:
    network = build(name)
    (group,) = parameter_groups(network)
    expected = [*head_parameters(network), *backbone_parameters(network)]
    assert [id(parameter) for parameter in group["params"]] == [id(parameter) for parameter in expected]
    assert group.keys() == {"params"}


@pytest.mark.parametrize(
    ("name", "options", "layers", "stages"),
    [
        ("small_cnn", {}, 9, 5),
        ("keras_cnn", {}, 7, 7),
        ("cnn_gru", {}, 8, 5),
        ("compact_cnn", {"branches": True, "depths": [1, 2, 2, 3]}, 9, 5),
    ],
)
def test_our_networks_number_their_layers(name: str, options: dict[str, Any], layers: int, stages: int) -> None:
    network = build(name, **options)
    for coarse, count in ((False, layers), (True, stages)):
        numbers = layer_numbers(network, coarse=coarse)
        assert set(numbers.values()) == set(range(count))
        assert list(numbers.values()) == sorted(numbers.values())  # the order of the network
        assert {key for key, number in numbers.items() if number == count - 1} == {"fc.weight", "fc.bias"}


def test_behind_a_fixed_stem_the_first_convolution_is_hidden() -> None:
    first = "stages.0.0.main.0.weight"
    assert first not in hidden_weights(build("compact_cnn"))
    assert first in hidden_weights(build("compact_cnn", stem="whitened"))


def model(**options: Any) -> ExpressionClassifier:
    return ExpressionClassifier("small_cnn", ["a", "b"], image_size=16, backbone_kwargs={"widths": [4, 8]}, **options)


def options_of(classifier: ExpressionClassifier) -> dict[str, dict[str, Any]]:
    """Return the options of the optimizer by name of the parameter."""
    names = {parameter: name for name, parameter in classifier.backbone.named_parameters()}
    groups = classifier.make_optimizer().param_groups
    return {names[parameter]: group for group in groups for parameter in group["params"]}


def test_rates_of_layers_compose_with_that_of_the_backbone() -> None:
    adamw = partial(torch.optim.AdamW, lr=1.0, weight_decay=0.3)
    found = options_of(model(optimizer=adamw, layer_decay=0.5, backbone_lr=0.1, weight_decay_exclude_1d=True))
    rates = {name: group["lr"] for name, group in found.items()}
    assert rates["fc.weight"] == rates["fc.bias"] == 1.0
    assert rates["blocks.1.3.weight"] == rates["blocks.1.4.bias"] == pytest.approx(0.05)
    assert rates["blocks.0.0.weight"] == pytest.approx(0.1 / 2**4)
    decays = {name: group["weight_decay"] for name, group in found.items()}
    assert {name for name, decay in decays.items() if decay == 0} == {name for name in decays if is_vector(name)}
    assert {decays[name] for name in decays if not is_vector(name)} == {0.3}


def is_vector(name: str) -> bool:
    return name.endswith("bias") or name.split(".")[2:3] in (["1"], ["4"])  # of batch norm


def test_rates_and_decays_compose_with_muon() -> None:
    muon = partial(Muon, lr=1.0, adamw_lr=0.01, weight_decay=0.2, adamw_weight_decay=0.3)
    found = options_of(model(optimizer=muon, layer_decay=0.5, weight_decay_exclude_1d=True))
    told = {name: (group["use_muon"], group["lr"], group["weight_decay"]) for name, group in found.items()}
    assert told["blocks.1.3.weight"] == (True, 0.5, 0.2)
    assert told["blocks.0.3.weight"] == (True, 0.125, 0.2)
    assert told["fc.weight"] == (False, 0.01, 0.3)
    assert told["fc.bias"] == (False, 0.01, 0.0)
    assert told["blocks.0.0.weight"] == (False, pytest.approx(0.01 / 16), 0.3)
    assert told["blocks.1.4.weight"] == (False, pytest.approx(0.005), 0.0)


def test_frozen_parameters_are_left_out() -> None:
    network = build("small_cnn")
    network.blocks.requires_grad_(False)
    kept: list[nn.Parameter] = [parameter for group in parameter_groups(network) for parameter in group["params"]]
    assert {id(parameter) for parameter in kept} == {id(parameter) for parameter in head_parameters(network)}


@pytest.mark.parametrize("value", [0.0, 1.5])
def test_a_layer_decay_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"layer_decay must be in \(0, 1\]"):
        model(layer_decay=value)
