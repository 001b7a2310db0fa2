"""Every reported metric of a predictions table, with intervals.

The predictions table is a pandas DataFrame, one row per image: `path, split, label, predicted` (class names), perhaps
`seen`, then one probability column per class, named by the class. `seen` is `train` or `validation` for an image that
the network was trained on or chosen by, and empty for others; tables of version 0.1 lack it. scikit-learn computes what
it can; the rest is written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn import metrics as sk

from fer_lightning.core.errors import DataError
from fer_lightning.core.suggestions import did_you_mean

COLUMNS = ("path", "split", "label", "predicted")
SEEN = "seen"
TOLERANCE = 1e-3  # on sums of probabilities: a CSV rounded to four decimals still passes


class PredictionsError(DataError, ValueError):
    """A table is not a predictions table."""


class Predictions(NamedTuple):
    """A checked predictions table as arrays: N images, K classes."""

    classes: tuple[str, ...]
    labels: np.ndarray  # (N,) int64 positions in `classes`
    predicted: np.ndarray  # the same
    probabilities: np.ndarray  # (N, K) float64 in [0, 1]

    @property
    def correct(self) -> np.ndarray:
        """(N,) bool: the prediction is the label."""
        return np.asarray(self.labels == self.predicted)

    @property
    def confidence(self) -> np.ndarray:
        """(N,) float64: the probability of the predicted class."""
        return np.asarray(self.probabilities[np.arange(len(self.predicted)), self.predicted])


def class_names(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the classes, in the order of their probability columns.

    Raises:
        PredictionsError: a column is missing or occurs twice, or there are fewer than two classes.
    """
    columns = list(table.columns)
    if missing := [column for column in COLUMNS if column not in columns]:
        raise PredictionsError(
            f"predictions table: no column {', '.join(missing)}; it needs {', '.join(COLUMNS)} "
            f"and one probability column per class, and has {', '.join(map(str, columns)) or 'none'}"
        )
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise PredictionsError(f"predictions table: column {', '.join(twice)} occurs twice")
    names = tuple(column for column in columns if column not in (*COLUMNS, SEEN))
    if len(names) < 2:
        raise PredictionsError(f"predictions table: {len(names)} probability columns; two classes or more are needed")
    return names


def read_predictions(table: pd.DataFrame) -> Predictions:
    """Check a predictions table and turn it into arrays.

    Raises:
        PredictionsError: no row; a column missing; a name without a probability column; probabilities outside [0, 1],
            not summing to 1 or at odds with `predicted`.
    """
    classes = class_names(table)
    if len(table) == 0:
        raise PredictionsError("predictions table: it has no row, so there is nothing to score")
    try:
        probabilities = table[list(classes)].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PredictionsError(f"predictions table: a probability column holds something else ({error})") from error
    if SEEN in table:
        known = _seen(table).isin(["", "train", "validation"]).to_numpy()
        _require(table, known, "`seen` is neither train nor validation nor empty")
    labels, predicted = (_positions(table, column, classes) for column in ("label", "predicted"))
    predictions = Predictions(classes, labels, predicted, probabilities)
    inside = np.isfinite(probabilities) & (probabilities >= -TOLERANCE) & (probabilities <= 1 + TOLERANCE)
    _require(table, inside.all(axis=1), "a probability is missing or outside 0 to 1")
    total = probabilities.sum(axis=1)
    _require(table, abs(total - 1) <= TOLERANCE, "the probabilities sum to {:.4g}, not 1", total)
    lead = predictions.confidence - probabilities.max(axis=1)
    # ties may go either way; otherwise the columns are in the wrong order and every score would be nonsense
    _require(table, lead >= -TOLERANCE, "`predicted` is not the most probable class; were the columns mixed up?")
    return predictions._replace(probabilities=probabilities.clip(0, 1))


def _positions(table: pd.DataFrame, column: str, classes: tuple[str, ...]) -> np.ndarray:
    positions: np.ndarray = pd.Index(classes).get_indexer(pd.Index(table[column])).astype(np.int64)
    if (positions < 0).any():
        name = str(table[column].iloc[int(np.argmax(positions < 0))])
        known = f"{', '.join(classes)}{did_you_mean(name, classes)}"
        raise PredictionsError(f"predictions table: no probability column for {column} {name!r}, only {known}")
    return positions


def _require(table: pd.DataFrame, good: np.ndarray, what: str, values: np.ndarray | None = None) -> None:
    if not good.all():
        row = int(np.argmin(good))
        message = what if values is None else what.format(values[row])
        raise PredictionsError(
            f"predictions table, row {row} ({table['path'].iloc[row]}): {message} ({int((~good).sum()):,} such rows)"
        )


def compute_metrics(table: pd.DataFrame) -> dict[str, Any]:
    """Return all metrics of a predictions table, ready for JSON: floats in [0, 1] except `loss`, ints, None.

    None stands for the undefined: all metrics of a class that is neither a label nor predicted, recall and ROC-AUC of a
    class without images. Precision is 0 for a class that was never predicted, as in scikit-learn. Means over classes
    (`balanced_accuracy`, `precision_macro`, `f1_macro`, `roc_auc_macro`) leave the undefined out.

    Where the table says which images the network has seen, there are also `duplicates_in_train` and
    `duplicates_in_validation`, counts, and, if there are any, `accuracy_without_duplicates` (None if all are) and its
    interval.

    Returns:
        count, accuracy, accuracy_interval, balanced_accuracy, precision_macro, f1_macro, f1_macro_interval,
        top2_accuracy, roc_auc_macro, ece, loss (mean negative log-likelihood, nats), and per_class:
        {class: {precision, recall, f1, support, predicted, roc_auc}}.

    Raises:
        PredictionsError: see `read_predictions`.
    """
    predictions = read_predictions(table)
    classes, labels, predicted, probabilities = predictions
    counts = confusion(table)
    per_class = _per_class(predictions, counts)
    # log_loss would warn of sums that are off by a float32 rounding
    normalised = probabilities / probabilities.sum(axis=1, keepdims=True)
    return {
        "count": len(labels),
        "accuracy": float(sk.accuracy_score(labels, predicted)),
        "accuracy_interval": wilson_interval(int(counts.trace()), len(labels)),
        **_duplicates(table, predictions.correct),
        "balanced_accuracy": _mean(per_class, "recall"),
        "precision_macro": _mean(per_class, "precision"),
        "f1_macro": _mean(per_class, "f1"),
        "f1_macro_interval": _f1_macro_interval(counts),
        "top2_accuracy": _top2_accuracy(predictions),
        "roc_auc_macro": _mean(per_class, "roc_auc"),
        "ece": _expected_calibration_error(predictions),
        "loss": float(sk.log_loss(labels, normalised, labels=np.arange(len(classes)))),
        "per_class": per_class,
    }


def confusion(table: pd.DataFrame) -> np.ndarray:
    """Return (K, K) int64 counts, rows for true and columns for predicted classes, in the order of `class_names`."""
    classes, labels, predicted, _ = read_predictions(table)
    counts: np.ndarray = sk.confusion_matrix(labels, predicted, labels=np.arange(len(classes)))
    return counts.astype(np.int64)


def classification_report(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per class, then `macro average` and `weighted average` (by support), as in scikit-learn.

    Columns are precision, recall, f1, support, predicted, roc_auc; the undefined is NaN; the index is named `class`.
    """
    report = pd.DataFrame.from_dict(compute_metrics(table)["per_class"], orient="index", dtype=float)
    scores, sizes = ["precision", "recall", "f1", "roc_auc"], ["support", "predicted"]
    defined = report[scores].notna()
    weights = defined.mul(report["support"], axis=0)
    totals = pd.DataFrame([report[sizes].sum()] * 2, index=["macro average", "weighted average"])
    totals.loc["macro average", scores] = report[scores].mean()
    totals.loc["weighted average", scores] = (report[scores] * weights).sum() / weights.sum()
    report = pd.concat([report, totals])
    report[sizes] = report[sizes].astype(np.int64)
    return report.rename_axis("class")


def wilson_interval(correct: int, count: int) -> list[float]:
    """Return [low, high] of a fraction at 95 % by Wilson (1927), inside [0, 1] even at 0 % and 100 %."""
    interval = binomtest(correct, count).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def unseen(table: pd.DataFrame) -> np.ndarray | None:
    """Return (N,) bool: the network has not seen the image; None where the table does not say."""
    return np.asarray(_seen(table) == "") if SEEN in table else None


def _seen(table: pd.DataFrame) -> pd.Series:
    """Return the column `seen`; pandas reads empty cells as NaN unless it is told not to."""
    return table[SEEN].fillna("")


def _duplicates(table: pd.DataFrame, correct: np.ndarray) -> dict[str, Any]:
    new = unseen(table)
    if new is None:
        return {}
    counts = {f"duplicates_in_{role}": int((_seen(table) == role).sum()) for role in ("train", "validation")}
    if new.all():
        return counts
    right, count = int(correct[new].sum()), int(new.sum())
    scores = (right / count, wilson_interval(right, count)) if count else (None, None)
    keys = ("accuracy_without_duplicates", "accuracy_without_duplicates_interval")
    return counts | dict(zip(keys, scores, strict=True))


def _per_class(predictions: Predictions, counts: np.ndarray) -> dict[str, dict[str, float | int | None]]:
    classes, labels, predicted, probabilities = predictions
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(classes)), zero_division=0
    )
    guesses = counts.sum(axis=0)
    return {
        name: {
            "precision": float(precision[k]) if support[k] or guesses[k] else None,
            "recall": float(recall[k]) if support[k] else None,
            "f1": float(f1[k]) if support[k] or guesses[k] else None,
            "support": int(support[k]),
            "predicted": int(guesses[k]),
            "roc_auc": (  # which needs both kinds of image
                float(sk.roc_auc_score(labels == k, probabilities[:, k])) if 0 < support[k] < len(labels) else None
            ),
        }
        for k, name in enumerate(classes)
    }


def _mean(per_class: dict[str, dict[str, float | int | None]], key: str) -> float | None:
    values = [value for scores in per_class.values() if (value := scores[key]) is not None]
    return sum(values) / len(values) if values else None


def _f1_macro_interval(counts: np.ndarray) -> list[float]:
    """Return [low, high], the 95 % percentile bootstrap over images.

    Macro-F1 depends on the confusion matrix alone, and the matrix of N images drawn with replacement is one multinomial
    draw over its cells: 1,000 resamples are 1,000 small matrices.
    """
    draws = np.random.default_rng(0).multinomial(counts.sum(), counts.ravel() / counts.sum(), size=1000)
    draws = draws.reshape(-1, *counts.shape)
    occurrences = draws.sum(axis=1) + draws.sum(axis=2)  # 2 TP + FP + FN
    f1 = 2 * np.diagonal(draws, axis1=1, axis2=2) / np.maximum(occurrences, 1)
    macro = f1.sum(axis=1) / (occurrences > 0).sum(axis=1)
    return [float(end) for end in np.percentile(macro, [2.5, 97.5])]


def _top2_accuracy(predictions: Predictions) -> float:
    """Return the fraction of labels that are the prediction or the most probable other class.

    As scikit-learn's `top_k_accuracy_score`, but ties can never put the prediction itself out of the first two.
    """
    others = predictions.probabilities.copy()
    np.put_along_axis(others, predictions.predicted[:, None], -1.0, axis=1)
    return float(np.mean(predictions.correct | (others.argmax(axis=1) == predictions.labels)))


def _expected_calibration_error(predictions: Predictions) -> float:
    """Return the ECE of Guo et al. (2017) over 15 equal-width bins (low, high], weighted by their images."""
    bins = np.digitize(predictions.confidence, np.linspace(0, 1, 16)[1:-1], right=True)
    gaps = np.bincount(bins, weights=predictions.correct - predictions.confidence)
    return float(abs(gaps).sum() / len(bins))


SCORES = {
    "acc": "accuracy",
    "f1_macro": "f1_macro",
    "balanced_acc": "balanced_accuracy",
    "ece": "ece",
    "acc_without_duplicates": "accuracy_without_duplicates",
}


def final_scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores in `metrics.json` as they are logged: tag → value."""
    prefix = "test" if metrics["split"] == "test" else "val"
    known = {name: metrics.get(key) for name, key in SCORES.items()}
    return {f"final/{prefix}/{name}": float(value) for name, value in known.items() if value is not None}
