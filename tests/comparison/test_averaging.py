"""The mean of predictions, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fer_lightning.comparison.averaging import average_predictions
from fer_lightning.core.errors import DataError


def table(first: list[float], labels: str = "aab") -> pd.DataFrame:
    probabilities = np.array(first)
    columns = {"path": ["x", "y", "z"], "split": "test", "label": [*labels]}
    columns["predicted"] = np.where(probabilities >= 0.5, "a", "b")
    return pd.DataFrame({**columns, "a": probabilities, "b": 1 - probabilities})


def test_probabilities_are_averaged_and_the_likeliest_class_is_predicted() -> None:
    found = average_predictions({"one": table([0.9, 0.4, 0.3]), "two": table([0.2, 0.7, 0.1])})
    np.testing.assert_allclose(found["a"], [0.55, 0.55, 0.2])
    np.testing.assert_allclose(found["a"] + found["b"], 1)
    assert list(found["predicted"]) == ["a", "a", "b"]
    assert list(found["label"]) == ["a", "a", "b"]


def test_rows_and_classes_may_stand_in_another_order() -> None:
    other = table([0.2, 0.7, 0.1]).iloc[[2, 0, 1]][["path", "split", "label", "predicted", "b", "a"]]
    found = average_predictions({"one": table([0.9, 0.4, 0.3]), "two": other})
    assert list(found.columns[-2:]) == ["a", "b"]
    np.testing.assert_allclose(found["a"], [0.55, 0.55, 0.2])


def test_an_image_that_any_member_has_seen_was_seen() -> None:
    one, two = table([0.9, 0.4, 0.3]), table([0.2, 0.7, 0.1])
    one.insert(4, "seen", ["", "validation", "validation"])
    two.insert(4, "seen", ["train", "", "train"])
    assert average_predictions({"one": one, "two": two})["seen"].tolist() == ["train", "validation", "train"]
    assert "seen" not in average_predictions({"one": one, "two": two.drop(columns="seen")})  # of one it is not known


def test_a_mean_of_one_is_itself() -> None:
    pd.testing.assert_frame_equal(
        average_predictions({"one": table([0.9, 0.4, 0.3])}), table([0.9, 0.4, 0.3]), check_dtype=False
    )


def test_what_cannot_be_averaged_is_said() -> None:
    one, more = table([0.9, 0.4, 0.3]), table([0.9, 0.4, 0.3])
    cases = {
        "two knows a, c, and one a, b": more.rename(columns={"b": "c"}).replace(
            {"label": {"b": "c"}, "predicted": {"b": "c"}}
        ),
        "two and one were not scored on the same images: of 3 and 2, 2 are": more.iloc[:2],
        "of 3 and 3, 2 are the same": more.replace({"path": {"z": "w"}}),
        "do not agree what y shows: 1 labels differ": table([0.9, 0.4, 0.3], labels="abb"),
        "two: an image is in its predictions twice": more.replace({"path": {"z": "y"}}),
    }
    for said, other in cases.items():
        with pytest.raises(DataError, match=said):
            average_predictions({"one": one, "two": other})
