"""A score is called a test score only where it is one."""

from __future__ import annotations

import pytest

from fer_lightning.evaluation.score_name import name_score

CLEAN = {"duplicates_in_train": 0, "duplicates_in_validation": 0}
LEAKED = {"count": 80, "duplicates_in_train": 7, "duplicates_in_validation": 2, "accuracy_without_duplicates": 0.6125}


@pytest.mark.parametrize(
    ("metrics", "name", "reason"),
    [
        ({"split": "test", "selected_on": "validation"} | CLEAN, "Test score", "the test images had no part in it."),
        ({"split": "test", "selected_on": "validation"}, "Test score", "duplicates among those or in train is not"),
        ({"split": "test", "selected_on": "validation"} | LEAKED, "Test score with duplicates",
         "80 images, 7 have a pixel-identical duplicate in train and 2 in validation: without them, the accuracy"),
        ({"split": "test", "selected_on": None} | LEAKED, "Test score with duplicates", "without them, the accuracy"),
        ({"split": "validation", "selected_on": "validation"} | LEAKED, "Validation score", "7 have a pixel-identical"),
        ({"split": "test", "same_data": False} | CLEAN, "Score on test images", "copies saved anew as JPEG are not"),
        ({"split": "test", "same_data": False, "left_out_in_train": 12} | CLEAN, "Score on test images",
         "Of the images, 12 that the network was trained on are left out. The network has seen none of the others"),
        ({"split": "train", "same_data": False} | LEAKED, "Score on train images", "trained on 7 and chosen by 2"),
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
        ({"split": "validation", "selected_on": "validation", "views": "single"}, "Validation score", "not a test"),
        ({"split": "validation", "selected_on": "validation", "views": "flip"},
         "Validation score (mean of each image and its mirror image)", "it is not a test score"),
        ({"split": "test", "selected_on": "validation", "views": "ten_crop"} | CLEAN,
         "Test score (mean of ten crops of each image)", "the test images had no part in it."),
        ({"selected_on": "validation"}, "Score", "does not say which images were scored"),
    ],
)  # fmt: skip
def test_score_is_called_what_it_is(metrics: dict, name: str, reason: str) -> None:
    found, sentence = name_score(metrics)
    assert found == name
    assert reason in sentence


def test_the_sentence_is_said_only_where_it_is_true() -> None:
    """A run may have been trained on test images unnoticed, or know nothing of it."""
    told = [name_score({"split": "test", "selected_on": "validation"} | known)[1] for known in (CLEAN, LEAKED, {})]
    assert ["had no part in it" in sentence for sentence in told] == [True, False, False]
