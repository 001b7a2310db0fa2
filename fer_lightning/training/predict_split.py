"""From a model and a split to the predictions table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lightning.pytorch as pl

from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.data.source import ImageRows
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.gather_outputs import gather_outputs

if TYPE_CHECKING:
    import pandas as pd


def predict_split(
    trainer: pl.Trainer, model: ExpressionClassifier, data: ExpressionDataModule, split: str
) -> tuple[pd.DataFrame, ImageRows]:
    """Predict every image of a split once, over all ranks.

    Return the predictions table of n rows, and the images uint8 `(n, C, H, W)` in its order, read when asked for.
    """
    from fer_lightning.evaluation.predictions import predictions_table  # pandas, which training should not wait for

    outputs = trainer.predict(model, dataloaders=data.evaluation_dataloader(split, trainer.strategy.root_device))
    # Lightning annotates what any `predict_step` may return
    index, probabilities = gather_outputs(outputs)  # type: ignore[arg-type]
    return predictions_table(data.table, index, probabilities, model.classes), data.image_rows(index)
