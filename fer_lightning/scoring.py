"""From a model and a split to the predictions table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
import torch.distributed
from torch.utils.data import DataLoader

from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.data.dataset import Batch
from fer_lightning.data.source import ImageRows
from fer_lightning.evaluation.predictions import predictions_table
from fer_lightning.models.classifier import ExpressionClassifier


def predict_split(
    trainer: pl.Trainer, model: ExpressionClassifier, data: ExpressionDataModule, split: str
) -> tuple[pd.DataFrame, ImageRows]:
    """Predict every image of a split once, over all ranks.

    Returns:
        the predictions table of n rows, and the images uint8 `(n, C, H, W)` in its order, read when they are asked for.
    """
    outputs = trainer.predict(model, dataloaders=OwnBatches(data.evaluation_dataloader(split)))
    index, probabilities = gather_outputs(outputs)  # type: ignore[arg-type]
    return predictions_table(data.table, index, probabilities, model.classes), data.image_rows(index)


class OwnBatches:
    """A loader that Lightning does not recognise as one: to predict from it, it would give it a sampler of its own.

    Args:
        loader: whose batches cover the images once over all ranks.
    """

    def __init__(self, loader: DataLoader[Batch]) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.loader)


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
