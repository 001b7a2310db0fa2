"""Random numbers as functions of counters: no generator, no state, and the same on each device.

The numbers are those of SplitMix64 (Steele, Lea and Flood: Fast Splittable Pseudorandom Number Generators, 2014), an
image's stream being chosen by its counters. 64 bits, so that no two of millions of images share a stream.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

_BITS = 2**64
# Odd, as numbers of 64 bits with a sign; products of int64 wrap around, as those of SplitMix64 do.
_STEP = 0x9E3779B97F4A7C15 - _BITS
_EPOCHS, _ROWS, _REPEATS = 0xD1342543DE82EF95 - _BITS, 0xAF251AF3B0F025B5 - _BITS, 0xDA942042E4DD58B5 - _BITS
_MULTIPLIERS = 0xBF58476D1CE4E5B9 - _BITS, 0x94D049BB133111EB - _BITS

_WINDOWS, _STRIDE = 4096, 61  # of the bank of noise; 61 is no whole number of rows of pixels


def uniforms(seed: int, epoch: int | Tensor, rows: Tensor, repeats: Tensor, count: int) -> Tensor:
    """Return float32 `(count, B)` in [0, 1), each column a function of seed, epoch, row and repeat alone.

    The numbers are multiples of 2**-23, so that `u * n` stays below n, rounded to float32.

    Args:
        seed: 0 <= seed < 2**64.
        epoch: 0 or more; also int64 `()` on the device of `rows`.
        rows: int64 `(B,)`.
        repeats: int64 `(B,)` on the device of `rows`.
        count: how many numbers for each row.
    """
    if not isinstance(epoch, Tensor):
        epoch = torch.full((), epoch, dtype=torch.int64, device=rows.device)  # fills; a copy would wait
    counters = epoch * _EPOCHS + rows * _ROWS + repeats * _REPEATS
    streams = _mix(counters + _signed(seed * _STEP))
    steps = torch.arange(1, count + 1, device=rows.device) * _STEP
    return ((_mix(streams + steps[:, None]) >> 41) & (2**23 - 1)).to(torch.float32) * 2.0**-23


@torch.compiler.assume_constant_result  # else a compiled graph would make its bank anew each time
def noise_bank(length: int, device: torch.device) -> Tensor:
    """Return uint8 `(4096, length)`: rows of random bytes that overlap, in the memory of one row and 244 KB."""
    return _kept_bank(length, device)


@functools.lru_cache(maxsize=8)
def _kept_bank(length: int, device: torch.device) -> Tensor:
    size = _WINDOWS * _STRIDE + length
    words = _mix(torch.arange(1, -(-size // 8) + 1, device=device) * _STEP)
    return words.view(torch.uint8).as_strided((_WINDOWS, length), (_STRIDE, 1))


def _mix(words: Tensor) -> Tensor:
    """SplitMix64's last step: int64 to int64, one to one, each bit of the result depending on all."""
    words = (words ^ _shifted(words, 30)) * _MULTIPLIERS[0]
    words = (words ^ _shifted(words, 27)) * _MULTIPLIERS[1]
    return words ^ _shifted(words, 31)


def _shifted(words: Tensor, places: int) -> Tensor:
    """To the right, as if there were no sign."""
    return (words >> places) & (2 ** (64 - places) - 1)


def _signed(number: int) -> int:
    """The signed number of the same 64 bits."""
    return (number + _BITS // 2) % _BITS - _BITS // 2
