"""Compact columns behave as the arrays of str that they stand for."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from fer_lightning.data.table.columns import CategoricalColumn, PathColumn, starts_in

ODD = ["a/ü/1.jpg", os.fsdecode(b"b/\xff.jpg"), "b/表情.jpg", "", "b/x y.jpg"]
MANY = [f"{split}/{number}.jpg" for split in ("train", "test") for number in range(5000)]
SPLITS = ("train", "validation", "test", "")


@pytest.mark.parametrize("paths", [ODD, MANY, ["x" * 2000], []], ids=["odd", "many", "long", "none"])
def test_paths_are_what_they_were(paths: list[str]) -> None:
    column = PathColumn.of(paths)
    assert len(column) == len(paths)
    assert column.tolist() == list(column) == [column[row] for row in range(len(column))] == paths
    assert PathColumn.of(column) is column
    assert pickle.loads(pickle.dumps(column)).tolist() == paths
    assert np.asarray(column).tolist() == paths


@pytest.mark.parametrize(
    "index",
    [
        slice(3, None, 2),
        np.arange(10_000) % 7 < 3,
        np.random.default_rng(0).permutation(10_000),
        np.array([9_999, 0, 0, 5_000]),
        [2, 1],
        np.linspace(0, 9_999, 50).astype(np.int64),
        np.zeros(10_000, dtype=bool),
    ],
    ids=["slice", "mask", "order", "repeats", "list", "far apart", "nothing"],
)
def test_paths_are_selected_as_an_array_is(index: object) -> None:
    expected = np.array(MANY)[index].tolist()
    chosen = PathColumn.of(MANY)[index]
    assert chosen.tolist() == expected
    assert b"".join(chosen.joined(b"\n")) == "\n".join(expected).encode()
    assert chosen[:5].tolist() == expected[:5]


def test_paths_are_counted_from_the_end_too() -> None:
    column = PathColumn.of(ODD)
    assert (column[-1], column[np.int64(2)]) == (ODD[-1], ODD[2])
    with pytest.raises(IndexError):
        column[5]


def test_paths_compare_as_an_array_does() -> None:
    column = PathColumn.of(["a", "b", "a"])
    assert (column == "a").tolist() == [True, False, True]
    assert (column != PathColumn.of(["a", "a", "a"])).tolist() == [False, True, False]


def test_paths_share_the_bytes_of_the_whole() -> None:
    column = PathColumn.of(MANY)
    assert column[::2]._blob is column._blob
    assert column._starts.dtype == np.uint32


def test_starts_beyond_four_gigabytes() -> None:
    starts = starts_in(b"ab\0c\0", offset=2**32 - 1)
    assert (starts.dtype, starts.tolist()) == (np.uint64, [2**32 - 1, 2**32 + 2])


def test_words_behave_as_an_array_of_str() -> None:
    plain = np.array(SPLITS)[np.random.default_rng(0).integers(0, 4, 10_000)]
    column = CategoricalColumn.of(plain, SPLITS)
    assert column.codes.dtype == np.uint8
    assert column.tolist() == list(column) == np.asarray(column).tolist() == plain.tolist()
    assert column[3] == plain[3]
    assert column[plain == "test"].tolist() == ["test"] * int((plain == "test").sum())
    for word in (*SPLITS, "dev"):
        np.testing.assert_array_equal(column == word, plain == word)
        np.testing.assert_array_equal(column != word, plain != word)
        assert (word in column) == (word in plain)
    np.testing.assert_array_equal(column == column[::-1], plain == plain[::-1])
    assert b"".join(column.joined(b"\n")) == "\n".join(plain.tolist()).encode()


def test_words_change_their_list_of_words() -> None:
    column = CategoricalColumn(np.array([1, 0, 1], dtype=np.uint8), ("test", "train", "dev"))
    assert CategoricalColumn.of(column, SPLITS).tolist() == ["train", "test", "train"]
    assert CategoricalColumn.of(column, SPLITS).codes.tolist() == [0, 2, 0]
    with pytest.raises(ValueError, match="dev is none of train, validation"):
        CategoricalColumn.of(["train", "dev"], SPLITS)
    assert CategoricalColumn.of([], SPLITS).tolist() == []
