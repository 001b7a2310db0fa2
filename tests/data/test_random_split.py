"""The division of version 0.1, which its checkpoints need."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.data.random_split import stratified_split
from fer_lightning.data.splits import duplicates_across

THIRDS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def faces(seed: int = 0, count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (N,) of seven unequal classes and groups (N,), a tenth of which have two or three members."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(7, count, p=[0.14, 0.02, 0.14, 0.25, 0.17, 0.17, 0.11])
    groups = rng.permutation(count).astype(np.uint64) * np.uint64(2**40)
    for start in range(0, count // 10, 2):
        duplicates = [start, start + 1, start + count // 2][: 2 + start % 4 // 2]
        groups[duplicates] = groups[start]
        labels[duplicates] = labels[start]
    return labels, groups


def test_draws_are_those_of_scikit_learn() -> None:
    """Checkpoints remember their splits by a digest, and older ones were trained on what scikit-learn drew."""
    labels = np.repeat([0, 1], [60, 41])
    splits = np.asarray(stratified_split(labels, None, THIRDS, seed=5))
    for label in (0, 1):
        rest = np.flatnonzero(labels == label)
        state = int(np.random.SeedSequence([5, label]).generate_state(1)[0])
        for name in ("validation", "test"):
            size = int((splits[labels == label] == name).sum())
            rest, drawn = train_test_split(rest, test_size=size, random_state=state)
            np.testing.assert_array_equal(np.flatnonzero((labels == label) & (splits == name)), np.sort(drawn))


def test_every_class_has_its_share() -> None:
    labels, _ = faces()
    splits = stratified_split(labels, None, THIRDS, seed=0)
    for name, share in THIRDS.items():
        expected = np.bincount(labels) * share
        assert np.abs(np.bincount(labels[splits == name]) - expected).max() < 1


def test_groups_stay_together_and_shares_nearly_hold() -> None:
    labels, groups = faces()
    splits = stratified_split(labels, groups, THIRDS, seed=0)
    for group in np.unique(groups):
        assert len(set(splits[groups == group])) == 1
    assert duplicates_across(groups, splits) == {}
    assert np.mean(splits == "train") == pytest.approx(0.8, abs=0.02)
    # the same rows without groups are torn apart, so the check above can fail
    assert duplicates_across(groups, stratified_split(labels, None, THIRDS, seed=0))


def test_a_group_of_two_labels_stays_together() -> None:
    labels = np.array([0, 0, 1] + [0, 1] * 10)
    groups = np.array([7, 7, 7, *range(10, 30)])
    for seed in range(10):
        splits = stratified_split(labels, groups, {"train": 0.5, "validation": 0.5}, seed=seed)
        assert len(set(splits[:3])) == 1


def test_a_group_counts_as_its_most_frequent_label() -> None:
    # one group of three 1s and two 0s, beside nine single images of each: class 1 has ten groups, and class 0 nine
    labels = np.array([0, 1, 1, 0, 1] + [0] * 9 + [1] * 9)
    groups = np.array([9] * 5 + [*range(100, 118)], dtype=np.uint64)
    splits = stratified_split(labels, groups, {"train": 0.5, "validation": 0.5}, seed=1)
    held = [int((splits[rows] == "validation").sum()) for rows in (slice(5, 14), slice(14, 23))]
    assert held[0] in (4, 5)
    assert held[1] + int(splits[0] == "validation") == 5


def test_seed_decides_and_order_of_rows_does_not() -> None:
    labels, groups = faces()
    splits = stratified_split(labels, groups, THIRDS, seed=3)
    np.testing.assert_array_equal(splits, stratified_split(labels, groups, THIRDS, seed=3))
    assert (splits != stratified_split(labels, groups, THIRDS, seed=4)).any()
    shuffled = np.random.default_rng(1).permutation(len(labels))
    np.testing.assert_array_equal(
        splits[shuffled], stratified_split(labels[shuffled], groups[shuffled], THIRDS, seed=3)
    )


@pytest.mark.parametrize("rare", [3, 4, 7, 15])
def test_a_rare_class_is_in_every_split(rare: int) -> None:
    labels = np.array([0] * 100 + [1] * rare)
    splits = stratified_split(labels, None, THIRDS, seed=0)
    assert {name for name in THIRDS if (labels[splits == name] == 1).any()} == set(THIRDS)
    assert len(splits) == len(labels)


def test_ten_folds() -> None:
    labels = np.repeat([0, 1], [15, 40])
    splits = stratified_split(labels, None, {f"fold{k}": 0.1 for k in range(10)}, seed=0)
    assert sorted(np.unique(splits, return_counts=True)[1]) == [5] * 5 + [6] * 5


def test_too_small_a_class_is_named() -> None:
    labels = np.array([0] * 20 + [1] * 5)
    groups = np.array([*range(20), 50, 50, 50, 51, 51])  # five images, but only two different ones
    with pytest.raises(DataError, match=r"class disgust has 2 different images.*3 splits.*data\.classes"):
        stratified_split(labels, groups, THIRDS, seed=0, classes=("angry", "disgust"))


@pytest.mark.parametrize("fractions", [{}, {"train": 0.8, "test": 0.1}, {"train": 1.2, "test": -0.2}, {"a": 1, "b": 0}])
def test_fractions_must_make_a_whole(fractions: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="sum to 1"):
        stratified_split(np.array([0, 1, 0, 1]), None, fractions, seed=0)
