"""A checkpoint as a recognizer, on torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_lightning.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class CheckpointRecognizer:
    """See `Recognizer`; the network runs in fp32 on the CPU."""

    path: Path
    classes: list[str]
    image_size: int
    channels: int
    fingerprint: str | None
    model: Any

    @classmethod
    def load(cls, path: str | Path, *, threads: int | None = None) -> CheckpointRecognizer:
        """Read a checkpoint; a CheckpointError if it is none of fer_lightning."""
        checkpoint = Checkpoint.read(path)
        values, facts = checkpoint.hyper_parameters, checkpoint.hyper_parameters.get("data_facts") or {}
        if threads is not None:
            torch.set_num_threads(threads)
        model = checkpoint.build()
        return cls(
            checkpoint.path,
            list(values["classes"]),
            int(values["image_size"]),
            int(values["channels"]),
            facts.get("fingerprint"),
            model,
        )

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(self.model(torch.from_numpy(faces)).float().softmax(dim=1).numpy())
