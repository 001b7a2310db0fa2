"""A score is called a test score only where it is one."""

from __future__ import annotations

import pytest

from fer_lightning.evaluation.score_name import name_score


@pytest.mark.parametrize(
    ("metrics", "name", "reason"),
    [
        ({"split": "test", "selected_on": "validation"}, "Test score", "had no part in it"),
        ({"split": "validation", "selected_on": "validation"}, "Validation score", "it is not a test score"),
        ({"split": "test", "selected_on": "test"}, "Validation score", "it is not a test score"),
        ({"split": "test", "selected_on": None}, "Test score", "weights that training ended with"),
        ({"split": "validation", "selected_on": None}, "Validation score", "weights that training ended with"),
        ({"split": "all", "selected_on": None}, "Score on all images", "Training images are among them"),
        ({"split": "all", "selected_on": None, "same_data": False}, "Score on all images", "is not known"),
        ({"split": "train", "selected_on": None, "same_data": False}, "Score on train images", "is not known"),
        ({"split": "test", "selected_on": "validation", "partial": True}, "Partial score", "Only a part"),
        ({"split": "test"}, "Score on test images", "does not say which images chose"),
        ({"split": "train", "selected_on": "validation"}, "Training score", "nothing about new faces"),
        ({"selected_on": "validation"}, "Score", "does not say which images were scored"),
    ],
)
def test_score_is_called_what_it_is(metrics: dict, name: str, reason: str) -> None:
    found, sentence = name_score(metrics)
    assert found == name
    assert reason in sentence
