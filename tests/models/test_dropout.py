"""Dropout with fewer random bits is still dropout."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from fer_lightning.models.dropout import Dropout, keep_mask

RATES = [0.1, 0.25, 0.3, 0.5, 0.9]


def assert_share(dropped: torch.Tensor, p: float) -> None:
    """Five deviations of a binomial distribution: one false alarm in two million."""
    count = dropped.numel()
    assert abs(dropped.sum().item() - count * p) < 5 * math.sqrt(count * p * (1 - p))


@pytest.mark.parametrize("p", RATES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_elements_are_dropped_with_the_probability_asked_for(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    dropped = Dropout(p)(torch.ones(1000, 1000, dtype=dtype)) == 0
    assert_share(dropped, p)
    for lane in range(4):  # four elements share one draw of 64 bits
        assert_share(dropped.view(-1)[lane::4], p)
    for distance in (1, 2, 3, 4, 1000):
        both = dropped.view(-1)[distance:] & dropped.view(-1)[:-distance]
        assert_share(both[:: distance + 1], p * p)


@pytest.mark.parametrize("p", RATES)
def test_what_is_kept_is_scaled_and_gradients_are_the_mask(p: float) -> None:
    torch.manual_seed(0)
    x = torch.rand(8, 6, 5, 5).add_(0.1).requires_grad_()
    y = Dropout(p)(x)
    kept = y != 0
    assert kept.any()
    assert not kept.all()
    torch.testing.assert_close(y[kept], x[kept] / (1 - p))
    weights = torch.randn_like(y)
    (y * weights).sum().backward()
    torch.testing.assert_close(x.grad, weights * kept / (1 - p))


def test_the_mean_stays_in_half_precision() -> None:
    torch.manual_seed(0)
    y = Dropout(0.25)(torch.ones(1 << 20, dtype=torch.bfloat16))
    assert y.dtype == torch.bfloat16
    assert y.float().mean().item() == pytest.approx(1, abs=0.01)
    assert y.unique().tolist() == [0, pytest.approx(4 / 3, rel=0.01)]


@pytest.mark.parametrize("shape", [(3, 5, 7, 7), (1, 1, 1, 1), (2, 3, 1, 1)])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_shape_and_memory_format_stay(shape: tuple[int, ...], memory_format: torch.memory_format) -> None:
    x = torch.ones(shape).contiguous(memory_format=memory_format)
    y = Dropout(0.5)(x)
    assert y.shape == x.shape
    assert y.is_contiguous(memory_format=memory_format)


def test_the_generator_alone_decides() -> None:
    x, drawn = torch.ones(7, 13, 5, 5), []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(Dropout(0.5)(x))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(Dropout(0.5)(x), Dropout(0.5)(x))  # which goes on


def test_the_input_is_left_alone() -> None:
    x = torch.ones(64)
    Dropout(0.5)(x)
    assert torch.equal(x, torch.ones(64))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_nothing_and_everything_and_evaluation_are_pytorchs_own(p: float, training: bool) -> None:
    x = torch.randn(4, 6)
    expected = {0.0: x, 1.0: torch.zeros_like(x)}.get(p) if training else x
    if expected is not None:
        assert torch.equal(Dropout(p).train(training)(x), expected)


@pytest.mark.parametrize("p", [1e-9, 1 - 1e-9])
def test_rates_too_near_to_the_ends_for_sixteen_bits(p: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(p)(torch.ones(10_000)) == 0
    assert dropped.float().mean().item() == pytest.approx(p, abs=1e-3)


GAPS = {
    "every other": lambda x: x[:, ::2],
    "turned": lambda x: x.permute(2, 0, 1),
    "expanded": lambda x: x[:1].expand(8, 8, 8),  # as many elements as its memory has, but not those
}


@pytest.mark.parametrize("name", GAPS)
def test_other_orders_are_left_to_pytorch(name: str) -> None:
    x = GAPS[name](torch.rand(8, 8, 8))
    torch.manual_seed(0)
    actual = Dropout(0.5)(x)
    torch.manual_seed(0)
    assert torch.equal(actual, F.dropout(x, 0.5))


IMAGES = torch.ones(4, 4, 9, 9)
DENSE = {
    "rest": torch.ones(8, 300)[3:],
    "beginning": torch.ones(8, 300)[:5],
    "images": IMAGES[1:],
    "channels last": IMAGES.contiguous(memory_format=torch.channels_last)[1:],
    "odd number": torch.ones(701),
}


@pytest.mark.parametrize("name", DENSE)
def test_parts_without_gaps_are_drawn_here(name: str) -> None:
    x = DENSE[name]
    torch.manual_seed(0)
    actual = Dropout(0.5)(x)
    torch.manual_seed(0)
    mask = keep_mask(x, 0.5)
    assert mask.stride() == x.stride()  # else multiplying would take longer than drawing
    assert torch.equal(actual, 2 * mask)
    assert_share(actual == 0, 0.5)


def test_a_network_without_eagerness_has_pytorchs_own() -> None:
    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = Dropout(0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.dropout(x)

    x = torch.rand(64, 8)
    graph = torch.export.export(Layer().train(), (x,)).graph
    names = {str(node.target) for node in graph.nodes if node.op == "call_function"}
    assert any("dropout" in name for name in names), names
    assert not any("random" in name for name in names), names
