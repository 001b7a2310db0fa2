"""From a model and images to the predictions table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lightning.pytorch as pl
import numpy as np

from fer_lightning.callbacks.interrupt import leaving_on_signals
from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.data.seen_images import SeenImages
from fer_lightning.data.source import ImageRows
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.gather_outputs import gather_outputs
from fer_lightning.models.views import Views, averaging

if TYPE_CHECKING:
    import pandas as pd


def predict_split(
    trainer: pl.Trainer,
    model: ExpressionClassifier,
    data: ExpressionDataModule,
    rows: np.ndarray,
    *,
    seen: SeenImages | None = None,
    own_division: bool = True,
    views: Views = "single",
) -> tuple[pd.DataFrame, ImageRows]:
    """Predict each of these images once, over all ranks.

    Args:
        trainer, model, data: what predicts what.
        rows: int64 `(n,)`, of `data.table`.
        seen: what the model has seen, for the column `seen` of the table; None leaves it out.
        own_division: whether it was trained on this very division of these images. Then `seen` names only what should
            not be: a test image in train or validation, a validation image in train.
        views: of each image, over which its probabilities are averaged.

    Returns:
        The predictions table of n rows, and the images uint8 `(n, C, H, W)` in its order, read when asked for.
    """
    from fer_lightning.evaluation.predictions import predictions_table  # pandas, which training should not wait for

    with leaving_on_signals(), averaging(model, views):
        outputs = trainer.predict(model, dataloaders=data.rows_dataloader(rows, trainer.strategy.root_device))
    # Lightning annotates what any `predict_step` may return
    index, probabilities = gather_outputs(outputs)  # type: ignore[arg-type]
    roles = None if seen is None else seen.roles(data.identities(index))
    if roles is not None and own_division:
        splits = np.asarray(data.table.splits[index])
        roles[(splits == "train") | ((splits == "validation") & (roles == "validation"))] = ""
    return predictions_table(data.table, index, probabilities, model.classes, seen=roles), data.image_rows(index)
