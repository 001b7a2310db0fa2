"""Counter-based random numbers: stateless, and the same on each device.

The generator is SplitMix64 (Steele, Lea and Flood: Fast Splittable Pseudorandom Number Generators, 2014); the counters
of an image select its stream. With 64 bits no two of millions of images share one.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

_BITS = 2**64
# Odd constants as signed 64-bit integers; products of int64 wrap around, as in SplitMix64.
_STEP = 0x9E3779B97F4A7C15 - _BITS
_EPOCHS, _ROWS, _REPEATS = 0xD1342543DE82EF95 - _BITS, 0xAF251AF3B0F025B5 - _BITS, 0xDA942042E4DD58B5 - _BITS
_ROUNDS = (30, 0xBF58476D1CE4E5B9 - _BITS), (27, 0x94D049BB133111EB - _BITS)  # places to shift, multiplier

_WINDOWS, _STRIDE = 4096, 61  # of the noise bank; 61 is not a multiple of usual image widths


def uniforms(seed: int, epoch: int | Tensor, rows: Tensor, repeats: Tensor, count: int) -> Tensor:
    """Return float32 `(count, B)` in [0, 1), each column a function of seed, epoch, row and repeat alone.

    The numbers are multiples of 2**-23, so that `u * n`, rounded to float32, stays below n. For 0 <= seed < 2**64,
    epoch 0 or more or int64 `()`, and rows and repeats int64 `(B,)`; all tensors are on one device.
    """
    if not isinstance(epoch, Tensor):
        epoch = torch.full((), epoch, dtype=torch.int64, device=rows.device)  # a fill; a copy would synchronise
    counters = epoch * _EPOCHS + rows * _ROWS + repeats * _REPEATS
    signed = (seed * _STEP + _BITS // 2) % _BITS - _BITS // 2
    streams = _mix(counters + signed)
    steps = torch.arange(1, count + 1, device=rows.device) * _STEP
    return ((_mix(streams + steps[:, None]) >> 41) & (2**23 - 1)).to(torch.float32) * 2.0**-23


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # or a compiled graph would rebuild it
def noise_bank(length: int, device: torch.device) -> Tensor:
    """Return uint8 `(4096, length)`: overlapping rows of random bytes, in the memory of one row plus 244 KB."""
    return _cached_bank(length, device)


@functools.lru_cache(maxsize=8)
def _cached_bank(length: int, device: torch.device) -> Tensor:
    size = _WINDOWS * _STRIDE + length
    words: Tensor = _mix(torch.arange(1, -(-size // 8) + 1, device=device) * _STEP)
    return torch.as_strided(words.view(torch.uint8), (_WINDOWS, length), (_STRIDE, 1))


def _mix(words: Tensor) -> Tensor:
    """Return the final mix of SplitMix64, a bijection of int64; each mask makes a shift to the right unsigned."""
    for places, multiplier in _ROUNDS:
        words = (words ^ (words >> places & 2 ** (64 - places) - 1)) * multiplier
    return words ^ (words >> 31 & 2**33 - 1)
