"""Metrics against scikit-learn, torchmetrics, scipy, brute force and tables computed by hand."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest
from sklearn import metrics as sk
from torchmetrics.functional.classification import multiclass_auroc, multiclass_calibration_error

from fer_lightning.core.errors import DataError
from fer_lightning.data.table.emotions import EMOTIONS
from fer_lightning.evaluation.metrics import (
    class_names,
    classification_report,
    compute_metrics,
    confusion,
    final_scores,
    read_predictions,
    wilson_interval,
)


def make_table(labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    table = pd.DataFrame({"path": [f"{row}.png" for row in range(len(labels))], "split": "test"})
    table["label"] = [classes[k] for k in labels]
    table["predicted"] = [classes[k] for k in probabilities.argmax(axis=1)]
    return table.join(pd.DataFrame(probabilities, columns=list(classes)))


def draw(count: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and float32 probabilities (N, K) of a network that is right somewhat more often than not."""
    random = np.random.default_rng(seed)
    labels = random.integers(size, size=count)
    labels[:size] = np.arange(size)
    logits = random.normal(size=(count, size)) + 1.5 * np.eye(size)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities.astype(np.float32)


NAMES = (*EMOTIONS, "contempt")


@pytest.mark.parametrize("size", range(2, 9))
def test_equals_independent_implementations(size: int) -> None:
    labels, probabilities = draw(400, size, seed=size)
    predicted = probabilities.argmax(axis=1)
    table = make_table(labels, probabilities, NAMES[:size])
    result = compute_metrics(table)
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
        "f1_macro": sk.f1_score(labels, predicted, average="macro"),
        "precision_macro": sk.precision_score(labels, predicted, average="macro"),
        "top2_accuracy": np.mean(
            [label in np.argsort(row)[-2:] for label, row in zip(labels, probabilities, strict=True)]
        ),
    }
    scores, truth = torch.from_numpy(probabilities), torch.from_numpy(labels)
    expected["ece"] = multiclass_calibration_error(scores, truth, size, n_bins=15, norm="l1").item()
    expected["loss"] = torch.nn.functional.nll_loss(scores.double().log(), truth).item()
    expected["roc_auc_macro"] = multiclass_auroc(scores, truth, size, average="macro").item()
    assert {key: result[key] for key in expected} == pytest.approx(expected, abs=1e-6)
    aucs = multiclass_auroc(scores, truth, size, average="none")
    assert [result["per_class"][name]["roc_auc"] for name in NAMES[:size]] == pytest.approx(aucs.tolist(), abs=1e-6)
    np.testing.assert_array_equal(confusion(table), sk.confusion_matrix(labels, predicted))
    assert result["count"] == 400


def test_report_equals_scikit_learns() -> None:
    labels, probabilities = draw(300, 7)
    report = classification_report(make_table(labels, probabilities, EMOTIONS))
    theirs = sk.classification_report(labels, probabilities.argmax(axis=1), target_names=EMOTIONS, output_dict=True)
    for ours, name in [
        *zip(EMOTIONS, EMOTIONS, strict=True),
        ("macro average", "macro avg"),
        ("weighted average", "weighted avg"),
    ]:
        row = report.loc[ours, ["precision", "recall", "f1", "support"]].tolist()
        assert row == pytest.approx([theirs[name][key] for key in ("precision", "recall", "f1-score", "support")])
    assert report.index.name == "class"
    assert report["support"].dtype == np.int64


def test_table_by_hand() -> None:
    # a a a b b c; two a right, one a taken for b; b right, b taken for c; c taken for a
    probabilities = np.array(
        [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.1, 0.7, 0.2], [0.3, 0.1, 0.6], [0.5, 0.2, 0.3]]
    )
    table = make_table(np.array([0, 0, 0, 1, 1, 2]), probabilities, ("a", "b", "c"))
    result = compute_metrics(table)
    assert confusion(table).tolist() == [[2, 1, 0], [0, 1, 1], [1, 0, 0]]
    assert result["accuracy"] == pytest.approx(3 / 6)
    assert result["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert result["f1_macro"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert result["top2_accuracy"] == pytest.approx(5 / 6)  # only the second b has its truth in third place
    assert result["loss"] == pytest.approx(-np.log([0.8, 0.6, 0.3, 0.7, 0.1, 0.3]).mean())
    # one bin each: 0.5 (0 of 1 right), 0.6 (1 of 3), 0.7 (1 of 1), 0.8 (1 of 1)
    assert result["ece"] == pytest.approx((0.5 + abs(1 - 1.8) + 0.3 + 0.2) / 6)
    assert result["per_class"]["a"] == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3, "predicted": 3, "roc_auc": 7.5 / 9}
    )


def test_absent_classes_are_null_and_left_out_of_means() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0, 0.0], [0.2, 0.8, 0.0, 0.0], [0.1, 0.2, 0.7, 0.0]])
    result = compute_metrics(make_table(np.array([0, 1, 1]), probabilities, ("a", "b", "guessed", "unseen")))
    unseen, guessed = result["per_class"]["unseen"], result["per_class"]["guessed"]
    nothing = {"precision": None, "recall": None, "f1": None, "support": 0, "predicted": 0, "roc_auc": None}
    assert unseen == nothing
    assert guessed == nothing | {"precision": 0.0, "f1": 0.0, "predicted": 1}
    assert result["balanced_accuracy"] == pytest.approx(0.75)
    assert result["f1_macro"] == pytest.approx(sk.f1_score([0, 1, 1], [0, 1, 2], average="macro", zero_division=0))
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_never_predicted_class_has_precision_zero() -> None:
    result = compute_metrics(make_table(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]), ("a", "b")))
    assert result["per_class"]["b"]["precision"] == 0.0
    assert result["per_class"]["b"]["recall"] == 0.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("label", [0, 1])
def test_single_image(label: int) -> None:
    result = compute_metrics(make_table(np.array([label]), np.array([[0.75, 0.25, 0.0]]), ("a", "b", "c")))
    assert (result["count"], result["accuracy"]) == (1, 1.0 - label)
    assert result["roc_auc_macro"] is None
    assert result["f1_macro_interval"] == [1.0 - label, 1.0 - label]
    assert result["loss"] == pytest.approx(-np.log([0.75, 0.25][label]))
    json.dumps(result, allow_nan=False)


def test_ties_never_put_the_prediction_out_of_the_first_two() -> None:
    table = make_table(np.array([0, 1, 2]), np.full((3, 3), 1 / 3), ("a", "b", "c"))
    result = compute_metrics(table)
    assert result["accuracy"] == pytest.approx(1 / 3)
    assert result["top2_accuracy"] == pytest.approx(2 / 3)
    assert result["roc_auc_macro"] == pytest.approx(0.5)
    table["predicted"] = ["c", "c", "c"]  # a tie may be broken either way
    assert compute_metrics(table)["top2_accuracy"] == pytest.approx(2 / 3)


def test_accuracy_interval_is_wilsons() -> None:
    for correct, count in [(0, 5), (5, 5), (7, 13), (4700, 7178)]:
        theirs = binomtest(correct, count).proportion_ci(0.95, method="wilson")
        assert wilson_interval(correct, count) == pytest.approx([theirs.low, theirs.high], abs=1e-12)


def test_f1_interval_agrees_with_a_bootstrap_over_images() -> None:
    labels, probabilities = draw(300, 5)
    predicted, random = probabilities.argmax(axis=1), np.random.default_rng(3)
    samples = [random.integers(300, size=300) for _ in range(600)]
    scores = [sk.f1_score(labels[rows], predicted[rows], average="macro") for rows in samples]
    table = make_table(labels, probabilities, NAMES[:5])
    interval = compute_metrics(table)["f1_macro_interval"]
    assert interval == pytest.approx(np.percentile(scores, [2.5, 97.5]).tolist(), abs=0.015)
    assert interval == compute_metrics(table)["f1_macro_interval"]


def test_order_and_index_of_rows_do_not_matter_and_csv_keeps_everything() -> None:
    table = make_table(*draw(120, 7), EMOTIONS)
    shuffled = table.sample(frac=1, random_state=1)
    copy = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    expected = compute_metrics(table)
    for other in (shuffled, copy):
        result = compute_metrics(other)
        assert result["per_class"] == expected["per_class"]
        assert result["loss"] == pytest.approx(expected["loss"], abs=1e-6)
    assert class_names(copy) == EMOTIONS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="predicted"), "no column predicted"),
        (lambda table: table.drop(columns=["b", "c"]), "1 probability columns"),
        (lambda table: table.drop(columns="c"), r"no probability column for label 'c', only a, b"),
        (lambda table: table.iloc[:0], "no row"),
        (lambda table: table.assign(label=["a", "b", "cc"]), "did you mean c\\?"),
        (lambda table: table.assign(label=["a", "b", None]), "no probability column for label"),
        (
            lambda table: table.assign(a=[0.9, 0.8, 0.1]),
            r"row 1 \(1.png\): the probabilities sum to 1.7, not 1 \(1 such",
        ),
        (lambda table: table.assign(a=[np.nan, 0.1, 0.1]), "row 0.*missing or outside 0 to 1"),
        (lambda table: table.assign(a=[1.9, 0.1, 0.1], b=[-0.95, 0.8, 0.1]), "missing or outside 0 to 1"),
        (lambda table: table.assign(a="high"), "holds something else"),
        (lambda table: table.rename(columns={"a": "b", "b": "a"}), "not the most probable class"),
        (lambda table: pd.concat([table, table[["a"]]], axis=1), "column a occurs twice"),
    ],
)
def test_wrong_tables_are_refused(change, message: str) -> None:
    probabilities = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    table = change(make_table(np.arange(3), probabilities, ("a", "b", "c")))
    with pytest.raises(ValueError, match=message) as caught:
        compute_metrics(table)
    assert isinstance(caught.value, DataError)


@pytest.mark.parametrize("empty", ["", None])  # as pandas reads an empty cell
def test_duplicates_are_counted_and_the_accuracy_without_them_is_that_of_the_others(empty: str | None) -> None:
    table = make_table(*draw(40, 3), NAMES[:3])
    assert not [key for key in compute_metrics(table) if "duplicates" in key]
    seen = np.full(40, empty, dtype=object)
    table.insert(4, "seen", seen.copy())
    assert {key: value for key, value in compute_metrics(table).items() if "duplicates" in key} == {
        "duplicates_in_train": 0, "duplicates_in_validation": 0
    }  # fmt: skip
    seen[:7], seen[7:9] = "train", "validation"
    found, others = compute_metrics(table.assign(seen=seen)), compute_metrics(table[9:])
    assert (found["duplicates_in_train"], found["duplicates_in_validation"]) == (7, 2)
    assert found["accuracy"] == compute_metrics(table)["accuracy"]
    assert found["accuracy_without_duplicates"] == others["accuracy"]
    assert found["accuracy_without_duplicates_interval"] == others["accuracy_interval"]
    assert compute_metrics(table.assign(seen="train"))["accuracy_without_duplicates"] is None
    logged = final_scores(found | {"split": "test"})
    assert logged["final/test/acc_without_duplicates"] == others["accuracy"]
    with pytest.raises(DataError, match=r"row 3.*`seen` is neither"):
        compute_metrics(table.assign(seen=["train"] * 3 + ["trian"] * 37))


def test_read_predictions_gives_arrays() -> None:
    labels, probabilities = draw(20, 3)
    predictions = read_predictions(make_table(labels, probabilities, ("a", "b", "c")))
    np.testing.assert_array_equal(predictions.labels, labels)
    np.testing.assert_allclose(predictions.confidence, probabilities.max(axis=1))
    np.testing.assert_array_equal(predictions.correct, labels == probabilities.argmax(axis=1))
