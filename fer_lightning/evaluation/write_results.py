"""From a predictions table to every file of the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fer_lightning.evaluation.figures import plot_confusion, plot_curves, save
from fer_lightning.evaluation.galleries import plot_gallery, plot_mistakes
from fer_lightning.evaluation.metrics import classification_report, compute_metrics
from fer_lightning.evaluation.report import write_report


def write_results(table: pd.DataFrame, images: np.ndarray | None, folder: Path, **facts: Any) -> dict[str, Any]:
    """Write the predictions, metrics, figures and report of a table.

    Args:
        table: predictions table of n rows.
        images: uint8 `(n, C, H, W)`, or what indexes like it; None leaves out the galleries of faces.
        folder: of the run; `history.csv` in it becomes curves.
        facts: what the numbers are about, stored with them; `report.name_score` says which it reads.

    Returns:
        what `metrics.json` holds.
    """
    metrics = {**facts, **compute_metrics(table)}
    table.to_csv(folder / "predictions.csv", index=False, float_format="%.9g")
    classification_report(table).to_csv(folder / "classification_report.csv")
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    save(plot_confusion(table), folder / "confusion_matrix.png")
    if images is not None:
        save(plot_gallery(table, images), folder / "predictions.png")
        save(plot_mistakes(table, images), folder / "mistakes.png")
    history = folder / "history.csv"
    if history.is_file():
        save(plot_curves(pd.read_csv(history), best_epoch=facts.get("epoch")), folder / "curves.png")
    write_report(folder)
    return metrics
