"""Uniform, independent, and functions of the counters alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from fer_lightning.data.augmentation.counter_rng import noise_bank, uniforms

CPU = torch.device("cpu")


def _draw(seed: int = 0, epoch: int = 0, first: int = 0, repeat: int = 0, images: int = 20_000) -> np.ndarray:
    rows = torch.arange(first, first + images)
    return uniforms(seed, epoch, rows, torch.full_like(rows, repeat), 6).numpy()


def _splitmix64(state: int) -> int:
    """As its authors wrote it, in whole numbers without a sign."""
    mask = 2**64 - 1
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & mask
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & mask
    return state ^ (state >> 31)


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1])
def test_the_numbers_are_those_of_splitmix64(seed: int) -> None:
    mask, step = 2**64 - 1, 0x9E3779B97F4A7C15
    counters = [(0, 0, 0), (3, 7, 1), (10**6, 2**40, 5)]
    for epoch, row, repeat in counters:
        total = epoch * 0xD1342543DE82EF95 + row * 0xAF251AF3B0F025B5 + repeat * 0xDA942042E4DD58B5 + seed * step
        stream = _splitmix64(total & mask)
        expected = [(_splitmix64(stream + place * step & mask) >> 41) / 2**23 for place in range(1, 5)]
        drawn = uniforms(seed, epoch, torch.tensor([row]), torch.tensor([repeat]), 4)
        assert drawn[:, 0].tolist() == expected


@pytest.mark.parametrize(
    "counters", [{}, {"seed": 2**64 - 1}, {"epoch": 1000}, {"first": 2**40}, {"repeat": 7}], ids=str
)
def test_each_parameter_is_uniform(counters: dict[str, int]) -> None:
    for numbers in _draw(**counters):
        counts = np.bincount((numbers * 64).astype(int), minlength=64)
        assert stats.chisquare(counts).pvalue > 1e-4
        assert stats.kstest(numbers, "uniform").pvalue > 1e-4


def test_numbers_stay_below_one_after_rounding() -> None:
    assert (_draw(images=200_000) >= 0).all()
    largest = torch.tensor(1 - 2.0**-23)
    assert all(float((largest * side).floor()) == side - 1 for side in range(1, 4097))


def _dependence(one: np.ndarray, two: np.ndarray) -> float:
    """The p-value of independence, of a table of 16 × 16."""
    table = np.histogram2d(one, two, bins=16, range=[[0, 1], [0, 1]])[0]
    return stats.chi2_contingency(table).pvalue


def test_parameters_do_not_depend_on_each_other() -> None:
    for one, two in itertools.combinations(_draw(seed=5), 2):
        assert _dependence(one, two) > 1e-4


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"repeat": 1}, {"first": 1}, {"first": 64}], ids=str)
def test_neighbours_of_every_counter_are_independent(change: dict[str, int]) -> None:
    for one, two in zip(_draw(), _draw(**change), strict=True):
        assert _dependence(one, two) > 1e-4
        assert (one == two).mean() < 1e-3


def test_dependence_would_be_found() -> None:
    one = _draw()[0]
    assert _dependence(one, (one + 0.2 * _draw(seed=9)[1]) % 1) < 1e-4


def test_no_two_of_many_images_share_their_numbers() -> None:
    rows, repeats = torch.arange(3000).repeat(4), torch.arange(4).repeat_interleave(3000)
    numbers = [uniforms(seed, epoch, rows, repeats, 4).numpy() for seed in range(3) for epoch in range(3)]
    assert len(np.unique(np.concatenate(numbers, axis=1), axis=1).T) == 9 * 12_000


def test_an_epoch_can_be_a_tensor() -> None:
    rows = torch.arange(5)
    assert torch.equal(uniforms(1, torch.tensor(9), rows, rows, 3), uniforms(1, 9, rows, rows, 3))


def test_the_bank_holds_uniform_bytes_in_rows_that_differ() -> None:
    bank = noise_bank(300, CPU)
    assert (bank.shape, bank.dtype) == ((4096, 300), torch.uint8)
    assert len(np.unique(bank.numpy(), axis=0)) == 4096
    flat = bank[:: -(-300 // 61)].flatten().numpy()  # rows that do not overlap
    assert stats.chisquare(np.bincount(flat, minlength=256)).pvalue > 1e-4
    assert noise_bank(300, CPU) is bank
