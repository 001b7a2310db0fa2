"""From a trained model to its predictions table, and from the table to every file of the verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
from torch.utils.data import DataLoader

from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.data.dataset import Batch
from fer_lightning.errors import CheckpointError
from fer_lightning.evaluation.figures import plot_confusion, plot_curves, save
from fer_lightning.evaluation.galleries import plot_gallery, plot_mistakes
from fer_lightning.evaluation.metrics import classification_report, compute_metrics
from fer_lightning.evaluation.predictions import gather_outputs, predictions_table
from fer_lightning.evaluation.report import write_report
from fer_lightning.models.classifier import ExpressionClassifier


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


def predict_split(
    trainer: pl.Trainer, model: ExpressionClassifier, data: ExpressionDataModule, split: str
) -> tuple[pd.DataFrame, np.ndarray]:
    """Predict every image of a split once, over all ranks.

    Returns:
        the predictions table of n rows, and the images uint8 `(n, C, H, W)` in its order.
    """
    outputs = trainer.predict(model, dataloaders=OwnBatches(data.evaluation_dataloader(split)))
    index, probabilities = gather_outputs(outputs)  # type: ignore[arg-type]
    return predictions_table(data.table, index, probabilities, model.classes), data.images(index)


def check_classes(model: ExpressionClassifier, data: ExpressionDataModule, path: str) -> None:
    """Refuse data that has classes which the model cannot name.

    Raises:
        CheckpointError: naming both lists.
    """
    if set(data.classes) - set(model.classes):
        raise CheckpointError(
            f"{path} knows {', '.join(model.classes)}; the data has {', '.join(data.classes)}. "
            "Choose or rename the data's classes with data.classes=[…] or data.merge={…}"
        )


def write_verdict(table: pd.DataFrame, images: np.ndarray, folder: Path, **facts: Any) -> dict[str, Any]:
    """Write the predictions, metrics, figures and report of a table.

    Args:
        table: predictions table of n rows.
        images: uint8 `(n, C, H, W)`.
        folder: of the run; `history.csv` in it becomes curves.
        facts: what the numbers are about (`split`, `selected_on`, `checkpoint`, …), stored with them.

    Returns:
        what `metrics.json` holds.
    """
    metrics = {**facts, **compute_metrics(table)}
    table.to_csv(folder / "predictions.csv", index=False, float_format="%.6g")
    classification_report(table).to_csv(folder / "classification_report.csv")
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    save(plot_confusion(table), folder / "confusion_matrix.png")
    save(plot_gallery(table, images), folder / "predictions.png")
    save(plot_mistakes(table, images), folder / "mistakes.png")
    history = folder / "history.csv"
    if history.is_file():
        save(plot_curves(pd.read_csv(history), best_epoch=facts.get("epoch")), folder / "curves.png")
    write_report(folder)
    return metrics
