"""The textbook's contenders; their processes import what a textbook does, and of ours only the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fer_lightning.benchmarks import baselines
from fer_lightning.benchmarks.windows import StepClock, TimedLoader


@dataclass(frozen=True)
class Textbook:
    """What `prepare` writes to a file: those of the user's settings that a tutorial's script would contain."""

    network: nn.Module  # fp32 and NCHW, on the CPU
    optimizer: Callable[..., torch.optim.Optimizer]  # of parameters
    device: torch.device
    loading: dict[str, Any]  # arguments of `textbook_loader`

    def loader(self, clock: StepClock, folder: str) -> Any:
        """Return a loader of class folders; the clock stops while its processes start again."""
        return TimedLoader(clock, baselines.textbook_loader(folder, **self.loading))


def train(clock: StepClock, parts: str, folder: str) -> None:
    """Train by the textbook; `parts` is the file of a `Textbook`, `folder` holds class folders."""
    own: Textbook = torch.load(parts, weights_only=False)
    network, loss = own.network.to(own.device), nn.CrossEntropyLoss()
    baselines.textbook(clock, own.loader(clock, folder), network, loss, own.optimizer(network.parameters()), own.device)


def load(clock: StepClock, parts: str, folder: str) -> None:
    """Load by the textbook, without a network; arguments as in `train`."""
    epochs = torch.load(parts, weights_only=False).loader(clock, folder)
    while True:
        for images, _ in epochs:
            clock(len(images))
