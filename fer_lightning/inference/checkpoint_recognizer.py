"""A checkpoint as a recognizer, on torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_lightning.data.loading.dataset import Batch
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.models.network import Network
from fer_lightning.training.load_model import load_model


@dataclass(frozen=True)
class CheckpointRecognizer:
    """See `Recognizer`; the network runs in fp32 on the CPU, by the step that `evaluate` runs."""

    path: Path
    classes: list[str]
    image_size: int
    channels: int
    fingerprint: str | None
    model: Any = field(repr=False)

    @classmethod
    def load(cls, path: str | Path, *, threads: int | None = None, allow: Sequence[str] = ()) -> CheckpointRecognizer:
        """Read a checkpoint, for speed with its network fused; see `load_recognizer`.

        Raises:
            CheckpointError: it is none of fer_lightning.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        recognizer = cls.of(Checkpoint.read(path), allow)
        if isinstance(network := getattr(recognizer.model, "backbone", None), Network):
            recognizer.model.backbone = network.fused()
        return recognizer

    @classmethod
    def of(cls, checkpoint: Checkpoint, allow: Sequence[str] = ()) -> CheckpointRecognizer:
        """Return the recognizer of a checkpoint that was read, its network as it was trained."""
        values, facts = checkpoint.hyper_parameters, checkpoint.hyper_parameters.get("data_facts") or {}
        model = load_model(checkpoint, allow)
        return cls(
            checkpoint.path,
            list(values["classes"]),
            int(values["image_size"]),
            int(values["channels"]),
            facts.get("fingerprint"),
            model,
        )

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        index = torch.arange(len(faces))
        with torch.inference_mode():
            output = self.model.predict_step(Batch(torch.from_numpy(faces), torch.zeros_like(index), index), 0)
        return np.asarray(output["probabilities"])
