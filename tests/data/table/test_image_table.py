"""Choosing and merging classes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_lightning.core.errors import ConfigError
from fer_lightning.data.layouts.recognize import read_layout
from fer_lightning.data.table.emotions import EMOTIONS
from fer_lightning.data.table.image_table import ImageTable, digest_table, select_classes


def count(table: ImageTable) -> dict[str, int]:
    return {split: int(per_class.sum()) for split, per_class in table.counts().items()}


def test_subset_and_merge_keep_rows(kaggle_tree: Path) -> None:
    table = read_layout(kaggle_tree)
    chosen = select_classes(table, ["Happiness", "negative"], {"negative": ["angry", "sadness", "fear"]})
    assert chosen.classes == ("happy", "negative")
    assert count(chosen) == {"train": 12, "validation": 8}
    np.testing.assert_array_equal(table.paths[chosen.rows], chosen.paths)
    meaning = {"happy": "happy", "angry": "negative", "sad": "negative", "fear": "negative"}
    assert [chosen.classes[label] for label in chosen.labels] == [meaning[p.split("/")[1]] for p in chosen.paths]
    assert chosen.explanation.endswith("used: 12 train, 8 validation images, 2 classes (happy, negative)")
    again = select_classes(chosen, ["negative", "happy"], None)
    np.testing.assert_array_equal(again.labels, 1 - chosen.labels)
    np.testing.assert_array_equal(again.rows, chosen.rows)


def test_no_selection_changes_nothing(kaggle_tree: Path) -> None:
    table = read_layout(kaggle_tree)
    assert select_classes(table, None, None) is table
    assert select_classes(table, None, {"angry": ["angry", "disgust"]}).classes == tuple(
        name for name in EMOTIONS if name != "disgust"
    )


@pytest.mark.parametrize(
    ("chosen", "merge", "message"),
    [
        (["hapy", "sad"], None, "data.classes names hapy.*did you mean happy"),
        (["bored", "sad"], None, "data.classes names bored.*: type one of angry"),
        (["happy"], None, "leave happy, but a classifier needs two"),
        ([], None, "leave no class"),
        (["happy", "joy"], None, "leave happy,"),
        ("happy", None, r"not a list: type data.classes=\[happy"),
        (None, {"all": list(EMOTIONS)}, "leave all,"),
        (None, {"negative": ["angry", "bord"]}, "data.merge.negative names bord"),
        (None, {"a": ["angry", "sad"], "b": ["sad", "fear"]}, "sad into both a and b"),
        (None, {"negative": []}, "data.merge.negative is empty"),
        (None, {"negative": "angry"}, "data.merge.negative=angry is not a list"),
        (None, {0: "angry"}, r"data.merge.0=angry is not a list: type data.merge.0=\[angry"),
        (None, {"negative": None}, "data.merge.negative=None is not a list"),
        (["angry", "happy"], {"negative": ["angry", "sad"]}, "names angry, which data.merge merges into negative"),
    ],
)
def test_wrong_selections(flat_tree: Path, chosen: object, merge: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        select_classes(read_layout(flat_tree), chosen, merge)  # type: ignore[arg-type]


def test_columns_of_a_table_agree(flat_tree: Path) -> None:
    table = read_layout(flat_tree)
    with pytest.raises(ValueError, match="differ in length"):
        ImageTable(table.root, "folders", table.paths, table.labels[:3], table.splits, table.classes, "", table.rows)


def test_digest_is_the_one_that_checkpoints_remember() -> None:
    paths = ["train/happy/1.png", "train/sad/ü.png", "validation/sad/2.png"]
    table = ImageTable(
        Path("faces"), "folders", paths, np.array([0, 1, 1]), ["train", "train", "validation"], ("happy", "sad"), "",
        np.arange(3),
    )  # fmt: skip
    assert digest_table(table) == "c6cd8432067b20a9"
    assert digest_table(replace(table, splits=["train"] * 3)) != "c6cd8432067b20a9"


def test_digest_of_a_long_table_is_that_of_its_words() -> None:
    paths = [f"train/happy/{number}.png" for number in range(10_000)]
    splits, labels = ["train", "test"] * 5000, np.arange(10_000) % 12
    classes = tuple("abcdefghijkl")
    table = ImageTable(Path("faces"), "folders", paths, labels, splits, classes, "", np.arange(10_000))
    text = "\n".join(paths) + "\n".join(splits) + "\n".join(map(str, labels.tolist()))
    assert digest_table(table) == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_columns_are_small_and_words_are_checked() -> None:
    table = ImageTable(Path(), "folders", ["a", "b"], np.array([0, 1]), ["train", ""], ("x", "y"), "", np.arange(2))
    assert (table.labels.dtype, table.splits.codes.dtype) == (np.uint8, np.uint8)
    with pytest.raises(ValueError, match="dev is none of train, validation, test"):
        ImageTable(Path(), "folders", ["a"], np.array([0]), ["dev"], ("x", "y"), "", np.arange(1))
