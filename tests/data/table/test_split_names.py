"""Names of splits as users write them: one vocabulary for folders and for columns."""

from __future__ import annotations

import pytest

from fer_lightning.data.table.split_names import split_columns, split_of

SPELLINGS = {
    "train": "train training trainset trainingset trainingdata trn train_images images_train fer2013_train TrainData",
    "validation": "val valid validation dev valset devset publictest Public_Test ValSet validation-set",
    "test": "test testing testset privatetest Private-Test test_data TestImages fer2013-test",
}


@pytest.mark.parametrize("split", SPELLINGS)
@pytest.mark.parametrize("dress", [str, str.upper, str.title, " {} ".format, "_{}".format])
def test_spellings(split: str, dress: object) -> None:
    for spelling in SPELLINGS[split].split():
        assert split_of(dress(spelling)) == split, dress(spelling)  # type: ignore[operator]


@pytest.mark.parametrize(
    "name",
    ["", "eval", "holdout", "fold1", "train2", "traintest", "train+val", "pretrain", "images", "happy", "0", "set"],
)
def test_what_takes_a_guess_is_no_split(name: str) -> None:
    assert split_of(name) is None


def test_own_aliases_say_what_is_meant() -> None:
    aliases = {"Eval": "validation", "trainval": "Training", "dev": "test", "test": "happy"}
    assert [split_of(name, aliases) for name in ("eval", "TrainVal", "dev", "test", "train")] == [
        *("validation", "train", "test", None, "train")
    ]


def test_columns() -> None:
    assert split_columns(["set", "pixels", " Usage ", "Data-Split"]) == [" Usage ", "set", "Data-Split"]
    assert split_columns(["emotion", "pixels", "settings"]) == []
