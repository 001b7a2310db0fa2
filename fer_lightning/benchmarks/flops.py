"""How much arithmetic a training step is, and how much the hardware could do."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

# dense bf16 of a whole card as its maker lists it, TFLOP/s; the first name that occurs in the card's own counts
PEAKS = {"B200": 2250.0, "H200": 989.5, "H100 PCIe": 756.0, "H100": 989.5, "A100": 312.0, "L40S": 362.0, "L4": 121.0}


def flops_per_image(model: nn.Module, channels: int, image_size: int) -> float:
    """Return the FLOPs (two a multiply-add) of one image forward and backward; the model is left as it was.

    The model maps images uint8 `(B, channels, image_size, image_size)` to logits.
    """
    device = next(model.parameters()).device
    images = torch.zeros(2, channels, image_size, image_size, dtype=torch.uint8, device=device)
    with FlopCounterMode(display=False) as counter:
        copy.deepcopy(model).train()(images).sum().backward()  # a copy, for batch norm would remember these images
    return float(counter.get_total_flops() / len(images))


def listed_peak(device: str) -> float | None:
    """Return the TFLOP/s of bf16 that a GPU of this name is sold with, if we know.

    >>> listed_peak("NVIDIA H200"), listed_peak("CPU with 2 cores")
    (989.5, None)
    """
    return next((peak for name, peak in PEAKS.items() if name in device), None)
