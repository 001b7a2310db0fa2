"""The predictions table: what lies between a model and everything that judges it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
import torch.distributed


class LabelledImages(Protocol):
    """What the table needs to know of the data: names, splits and labels, a row an image."""

    paths: np.ndarray
    splits: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


def gather_outputs(outputs: Sequence[dict[str, torch.Tensor]]) -> tuple[np.ndarray, np.ndarray]:
    """Join the batches of `predict_step` over all ranks.

    Args:
        outputs: of this rank, each with `index` int64 `(B,)` and `probabilities` float `(B, K)`.

    Returns:
        index int64 `(n,)`, sorted, and probabilities float64 `(n, K)`.

    Raises:
        RuntimeError: an image was predicted twice.
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


def predictions_table(
    images: LabelledImages, index: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> pd.DataFrame:
    """Return the table `path, split, label, predicted` and one probability column a class.

    Args:
        images: what was predicted; its classes may be fewer than the model's.
        index: int64 `(n,)`, rows of `images`.
        probabilities: float `(n, K)`, rows summing to 1.
        classes: names of the K outputs.
    """
    names, outputs = np.asarray(images.classes, dtype=object), np.asarray(classes, dtype=object)
    columns = {
        "path": images.paths[index],
        "split": images.splits[index],
        "label": names[images.labels[index]],
        "predicted": outputs[probabilities.argmax(axis=1)],
    }
    return pd.DataFrame(columns).join(pd.DataFrame(probabilities, columns=list(classes)))
