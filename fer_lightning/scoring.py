"""From a model and a split to the predictions table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.distributed

from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.data.source import ImageRows
from fer_lightning.models.classifier import ExpressionClassifier

if TYPE_CHECKING:
    import pandas as pd


def predict_split(
    trainer: pl.Trainer, model: ExpressionClassifier, data: ExpressionDataModule, split: str
) -> tuple[pd.DataFrame, ImageRows]:
    """Predict every image of a split once, over all ranks.

    Returns:
        the predictions table of n rows, and the images uint8 `(n, C, H, W)` in its order, read when they are asked for.
    """
    from fer_lightning.evaluation.predictions import predictions_table  # pandas, which training should not wait for

    outputs = trainer.predict(model, dataloaders=data.evaluation_dataloader(split, trainer.strategy.root_device))
    index, probabilities = gather_outputs(outputs)  # type: ignore[arg-type]
    return predictions_table(data.table, index, probabilities, model.classes), data.image_rows(index)


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
