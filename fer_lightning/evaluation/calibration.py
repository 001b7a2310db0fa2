"""How far the confidence of a network is what it gets right, as a table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fer_lightning.evaluation.metrics import read_predictions

BINS = 15  # of equal width, (low, high], as the ECE in `metrics` has them


def reliability(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per bin of confidence that holds images: `low, high, images, confidence, accuracy`.

    The ECE is the mean of |accuracy − confidence| weighted by `images`.

    Args:
        table: predictions table of n rows.

    Raises:
        PredictionsError: see `read_predictions`.
    """
    predictions = read_predictions(table)
    edges = np.linspace(0, 1, BINS + 1)
    bins = np.digitize(predictions.confidence, edges[1:-1], right=True)
    frame = pd.DataFrame({"bin": bins, "confidence": predictions.confidence, "accuracy": predictions.correct})
    rows = frame.groupby("bin").agg(
        images=("accuracy", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
    )
    rows.insert(0, "low", edges[rows.index])
    rows.insert(1, "high", edges[rows.index + 1])
    return rows.reset_index(drop=True)
