"""Muon: torch's own on matrices, the polynomial of the paper on singular values, AdamW on everything else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fer_lightning.models.backbones import build_backbone
from fer_lightning.models.optimizers.muon import Muon, orthogonalized
from fer_lightning.models.parameter_groups import hidden_weights, parameter_groups


def by_singular_values(matrix: Tensor, steps: int) -> Tensor:
    """The same from the definition: a polynomial of the singular values, in float64."""
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    values = values / values.norm().clamp(min=1e-7)
    for _ in range(steps):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return (left * values) @ right


@pytest.mark.parametrize("steps", [1, 3, 5, 6])
def test_singular_values_go_through_the_polynomial(steps: int) -> None:
    draw = torch.Generator().manual_seed(steps)
    shapes = [(8, 72), (8, 8), (40, 8), (16, 144), (8, 9), (2, 3)]
    matrices = [torch.randn(shape, generator=draw) for shape in shapes]
    matrices[0][3] = 0.0  # a filter that is dead
    matrices[1] = matrices[1][:, :1] * matrices[1][:1]  # of rank 1
    matrices[3] *= torch.logspace(0, -6, 16)[:, None]  # badly conditioned
    matrices.append(torch.zeros(8, 72))
    for matrix, found in zip(matrices, orthogonalized(matrices, steps), strict=True):
        torch.testing.assert_close(found, by_singular_values(matrix, steps).float(), rtol=0, atol=2e-3)
    assert all(0.6 < value < 1.3 for value in torch.linalg.svdvals(orthogonalized([matrices[2]], 5)[0]))


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_full_float32_whatever_the_run_has_chosen(precision: str) -> None:
    matrix = torch.randn(64, 576, generator=torch.Generator().manual_seed(0))
    expected = orthogonalized([matrix], 5)[0]
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        assert torch.equal(orthogonalized([matrix], 5)[0], expected)
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)


def follow(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], steps: int, seed: int = 0) -> None:
    """Take steps along gradients that are drawn."""
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for parameter in parameters:
            drawn = torch.randn(parameter.shape, generator=draw)
            parameter.grad = torch.empty_like(parameter).copy_(drawn)  # in the layout of the weight
        optimizer.step()


def drawn(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    draw = torch.Generator().manual_seed(7)
    return [nn.Parameter(torch.randn(shape, generator=draw)) for shape in shapes]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"nesterov": False, "momentum": 0.6, "weight_decay": 0.5},
    {"adjust_lr_fn": "match_rms_adamw", "ns_steps": 3},
]


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has it from 2.9 on")
@pytest.mark.parametrize("options", OPTIONS)
def test_matrices_move_as_in_torch(options: dict[str, Any]) -> None:
    ours, theirs = drawn((12, 20), (30, 6)), drawn((12, 20), (30, 6))
    options = {"lr": 0.1, "weight_decay": 0.01, "ns_steps": 5, **options}
    follow(Muon(ours, **options), ours, 4)
    follow(torch.optim.Muon(theirs, **options), theirs, 4)
    for one, other, start in zip(ours, theirs, drawn((12, 20), (30, 6)), strict=True):
        moved = (other - start).abs().max().item()
        torch.testing.assert_close(one, other, rtol=0, atol=0.03 * moved)  # theirs multiplies in bf16


def test_filters_move_as_their_matrices_in_either_memory_format() -> None:
    (filters,), (last,), (matrix,) = drawn((6, 4, 3, 3)), drawn((6, 4, 3, 3)), drawn((6, 4, 3, 3))
    last.data = last.data.to(memory_format=torch.channels_last)
    matrix = nn.Parameter(matrix.data.flatten(1))
    for weight in (filters, last, matrix):
        follow(Muon([weight], lr=0.1), [weight], 3)
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(filters.flatten(1), matrix, rtol=0, atol=1e-5)
    torch.testing.assert_close(last, filters, rtol=0, atol=1e-5)


def test_everything_else_moves_as_with_adamw() -> None:
    ours, theirs = drawn((5,), (3, 4)), drawn((5,), (3, 4))
    options = {"betas": (0.8, 0.9), "eps": 1e-6, "fused": True}
    groups = [{"params": ours[:1]}, {"params": ours[1:], "use_muon": False, "lr": 0.3}]  # the last layer, say
    follow(Muon(groups, adamw_lr=0.1, adamw_weight_decay=0.2, **options), ours, 5)
    plain = [{"params": theirs[:1]}, {"params": theirs[1:], "lr": 0.3}]
    follow(torch.optim.AdamW(plain, lr=0.1, weight_decay=0.2, **options), theirs, 5)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_from_a_state_it_goes_on_as_if_unbroken() -> None:
    shapes = [(6, 4, 3, 3), (5,), (3, 4)]
    unbroken = drawn(*shapes)
    optimizer = Muon(unbroken)
    follow(optimizer, unbroken, 3, seed=1)
    state, weights = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(unbroken)
    follow(optimizer, unbroken, 3, seed=2)
    again = Muon(weights)
    again.load_state_dict(state)
    follow(again, weights, 3, seed=2)
    assert all(torch.equal(one, other) for one, other in zip(unbroken, weights, strict=True))


def test_weights_without_gradients_stay() -> None:
    ours = drawn((6, 4), (5,))
    Muon(ours).step()
    assert all(torch.equal(one, other) for one, other in zip(ours, drawn((6, 4), (5,)), strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, "momentum must be in"),
        ({"ns_steps": 7}, "ns_steps must be 1 to 6"),
        ({"lr": -1}, "lr and weight_decay must be 0 or more"),
        ({"adjust_lr_fn": "orginal"}, "choose one of original, match_rms_adamw"),
        ({"adamw_lr": -1}, "Invalid learning rate"),
        ({"betas": (2, 0.9)}, "Invalid beta"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Muon(drawn((3, 4)), **options)


@pytest.mark.parametrize(
    ("name", "first_and_last", "count"),
    [
        ("small_cnn", {"blocks.0.0.weight", "fc.weight"}, 7),
        ("keras_cnn", {"features.0.weight", "fc.weight"}, 5),
        ("cnn_gru", {"blocks.0.0.weight", "fc.weight"}, 9),
        ("resnet10t", {"conv1.0.weight", "fc.weight"}, 13),
        ("test_vit", {"patch_embed.proj.weight", "head.weight", "pos_embed", "cls_token"}, 24),
    ],
)
def test_hidden_weights_are_the_matrices_between_first_and_last_layer(
    name: str, first_and_last: set[str], count: int
) -> None:
    network = build_backbone(name, num_classes=7, in_channels=1, image_size=48)
    matrices = {key for key, parameter in network.named_parameters() if parameter.ndim >= 2}
    assert matrices - hidden_weights(network) == first_and_last
    assert len(hidden_weights(network)) == count
    groups = parameter_groups(network, splits_hidden=True)
    assert [group["use_muon"] for group in groups] == [True, False]
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
