"""The outputs of `predict_step`, joined over batches and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed


def gather_outputs(outputs: Sequence[dict[str, torch.Tensor]]) -> tuple[np.ndarray, np.ndarray]:
    """Return index int64 `(n,)`, sorted, and probabilities float64 `(n, K)`, joined over batches and all ranks.

    The batches of this rank each have `index` int64 `(B,)` and `probabilities` float `(B, K)`. If an image was
    predicted twice it is a RuntimeError.
    """
    index = torch.cat([output["index"] for output in outputs]).cpu().numpy()
    probabilities = torch.cat([output["probabilities"] for output in outputs]).cpu().double().numpy()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, (index, probabilities))
        index, probabilities = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(index)
    index, probabilities = index[order], probabilities[order]
    if len(np.unique(index)) != len(index):
        raise RuntimeError("an image was predicted more than once; trainer.use_distributed_sampler must be false")
    return index, probabilities
