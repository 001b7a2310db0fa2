"""The reliability table against the ECE, and against bins made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fer_lightning.evaluation.calibration import reliability
from fer_lightning.evaluation.metrics import compute_metrics


def table(confidence: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    labels = np.where(right, "happy", "sad")
    names = {"path": "x", "split": "test", "label": labels, "predicted": "happy"}
    return pd.DataFrame({**names, "happy": confidence, "sad": 1 - confidence})


def test_it_sums_to_the_calibration_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 400)
    predictions = table(confidence, rng.random(400) < confidence**2)
    rows = reliability(predictions)
    gaps = (rows["accuracy"] - rows["confidence"]).abs() * rows["images"]
    assert rows["images"].sum() == 400
    assert gaps.sum() / 400 == pytest.approx(compute_metrics(predictions)["ece"])
    assert gaps.sum() / 400 > 0.05
    assert ((rows["low"] < rows["confidence"]) & (rows["confidence"] <= rows["high"])).all()


def test_bins_without_images_are_left_out() -> None:
    rows = reliability(table(np.array([0.61, 0.65, 0.99]), np.array([True, False, True])))
    assert rows["images"].tolist() == [2, 1]
    assert rows["accuracy"].tolist() == [0.5, 1.0]
    assert rows["confidence"].tolist() == pytest.approx([0.63, 0.99])
    assert rows["low"].tolist() == pytest.approx([9 / 15, 14 / 15])
