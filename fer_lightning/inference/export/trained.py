"""A trained model as the formats of an export want it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer
from fer_lightning.inference.export.facts import describe
from fer_lightning.inference.export.probabilities import to_export
from fer_lightning.models.checkpoint import Checkpoint

Storage = Literal["float32", "float16"]
Classify = Callable[[np.ndarray], np.ndarray]  # faces uint8 (B, C, S, S) to probabilities float32 (B, K)


@dataclass(frozen=True)
class Trained:
    """A checkpoint, read once.

    Attributes:
        checkpoint: what the file holds.
        original: what an export is compared with.
        facts: what it says of itself.
        storage: of the weights in the file; they compute in float32.
        name, dataset: what a model card calls it, and the data that it tells more of.
    """

    checkpoint: Checkpoint
    original: CheckpointRecognizer
    facts: dict[str, Any] = field(default_factory=dict)
    storage: Storage = "float32"
    name: str = "model"
    dataset: str | None = None

    @classmethod
    def read(cls, path: str | Path, allow: Sequence[str] = (), storage: Storage = "float32") -> Trained:
        """Read a checkpoint; a CheckpointError if it is none of fer_lightning. `allow`: see `load_recognizer`."""
        checkpoint = Checkpoint.read(path)
        facts = describe(checkpoint) | ({"storage": storage} if storage != "float32" else {})
        return cls(checkpoint, CheckpointRecognizer.of(checkpoint, allow), facts, storage)

    @property
    def backbone(self) -> str:
        return str(self.checkpoint.hyper_parameters["backbone"])

    @property
    def parameters(self) -> int:
        """Return how many numbers were trained."""
        return sum(parameter.numel() for parameter in self.original.model.parameters())

    @cached_property
    def network(self) -> nn.Module:
        """See `to_export`."""
        return to_export(self.original.model, self.original.image_size)

    @property
    def unfused(self) -> nn.Module:
        """The same with the weights of the checkpoint as they are."""
        return to_export(self.original.model, self.original.image_size, fuse=False)

    @property
    def example(self) -> torch.Tensor:
        """Return images uint8 `(2, C, S, S)`: exporters fix a batch of one in what they write."""
        size = self.original.image_size
        return torch.zeros((2, self.original.channels, size, size), dtype=torch.uint8)
