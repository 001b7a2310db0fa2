"""The division by pixels: what it depends on, and what it promises when images come and go."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.data.hash_split import hash_split

THREE = {"train": 0.8, "validation": 0.1, "test": 0.1}
TWO = {"train": 0.9, "validation": 0.1}
PLACES = {"train": 0, "validation": 1, "test": 2}


def identities_of(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def divide(labels: np.ndarray, identities: np.ndarray, fractions: dict[str, float], seed: int = 0) -> np.ndarray:
    return np.asarray(hash_split(labels, identities, fractions, seed=seed))


def changes(fractions: dict[str, float]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield labels and identities of random data sets before and after images are added, whose classes differ in size.

    Classes of fewer than ten images are left out: for those the promise needs luck.
    """
    rng = np.random.default_rng(1)
    for trial in range(120):
        sizes = rng.integers(10, rng.choice([12, 40, 400]), rng.integers(2, 7))
        more = rng.integers(0, rng.choice([2, 10, 200]), len(sizes))
        labels = np.repeat(np.arange(len(sizes)), sizes)
        added = np.repeat(np.arange(len(sizes)), more)
        identities = identities_of(len(labels) + len(added), trial)
        order = rng.permutation(len(identities))
        yield labels, identities[: len(labels)], np.concatenate([labels, added])[order], identities[order]


def moves(before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]) -> list[tuple[str, str]]:
    """Return (from, to) of each image of both, (identities, splits), that changed its split."""
    then = dict(zip(before[0].tolist(), before[1].tolist(), strict=True))
    pairs = (
        (then[image], now) for image, now in zip(after[0].tolist(), after[1].tolist(), strict=True) if image in then
    )
    return [pair for pair in pairs if pair[0] != pair[1]]


@pytest.mark.parametrize("fractions", [THREE, TWO, {"train": 0.5, "validation": 0.25, "test": 0.25}])
def test_added_images_move_old_ones_only_towards_train(fractions: dict[str, float]) -> None:
    moved = []
    for labels, identities, more_labels, more_identities in changes(fractions):
        few, many = divide(labels, identities, fractions), divide(more_labels, more_identities, fractions)
        moved += moves((identities, few), (more_identities, many))
    assert moved, "small classes were filled, so that some images return"
    assert all(PLACES[now] < PLACES[then] for then, now in moved)


def test_images_come_and_go_without_effect_where_each_split_of_a_class_has_one_by_its_own_number() -> None:
    crowd = identities_of(1000, 7)  # so many that no split lacks an image
    filled = 0
    for labels, identities, more_labels, more_identities in changes(THREE):
        few, many = divide(labels, identities, THREE), divide(more_labels, more_identities, THREE)
        for label in range(labels.max() + 1):
            for mine, found in ((identities[labels == label], few), (more_identities[more_labels == label], many)):
                own = divide(np.zeros(len(mine) + 1000, dtype=int), np.concatenate([mine, crowd]), THREE)[: len(mine)]
                found = found[(labels if found is few else more_labels) == label]
                if set(own) == set(THREE):
                    np.testing.assert_array_equal(found, own)
                else:  # filled by one image a split, at most
                    filled += 1
                    assert (found != own).sum() <= 2
    assert filled > 20


@pytest.mark.parametrize("seed", [0, 42, 2**63])
def test_where_every_class_is_large_an_image_depends_on_nothing_but_seed_and_pixels(seed: int) -> None:
    identities = identities_of(3000, 5)
    labels = np.random.default_rng(6).integers(0, 7, 3000)
    whole = divide(labels, identities, THREE, seed)
    np.testing.assert_array_equal(whole, divide(labels // 2, identities, THREE, seed))  # merged
    some = np.isin(labels, [1, 4])  # selected
    np.testing.assert_array_equal(whole[some], divide(labels[some] // 4, identities[some], THREE, seed))
    assert (whole != divide(labels, identities, THREE, seed + 1)).any()
    held = divide(labels, identities, {"train": 0.9, "validation": 0.1}, seed)
    np.testing.assert_array_equal(held == "validation", whole == "test")  # the same numbers are below 0.1


def test_fractions_hold_within_the_noise_of_a_binomial_draw() -> None:
    labels = np.repeat([0, 1], [40_000, 4_000])
    splits = divide(labels, identities_of(44_000, 0), THREE)
    for label, count in ((0, 40_000), (1, 4_000)):
        for name, part in THREE.items():
            found = int((splits[labels == label] == name).sum())
            assert abs(found - part * count) < 4 * np.sqrt(count * part * (1 - part))


def test_seeds_and_neighbouring_identities_are_independent() -> None:
    counted = np.arange(20_000, dtype=np.uint64)  # which are no digests at all
    one, other = (divide(np.zeros(20_000, dtype=int), counted, TWO, seed) == "validation" for seed in (1, 2))
    assert one.mean() == pytest.approx(0.1, abs=0.01)
    assert (one & other).mean() == pytest.approx(0.01, abs=0.003)
    assert (one[1:] & one[:-1]).mean() == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize("rare", [3, 4, 7, 15])
def test_a_rare_class_is_in_every_split(rare: int) -> None:
    labels = np.array([0] * 100 + [1] * rare)
    for seed in range(50):
        splits = divide(labels, identities_of(len(labels), seed), THREE, seed)
        assert set(splits[labels == 1]) == set(THREE)


def test_duplicates_stay_together_also_with_two_labels() -> None:
    identities = identities_of(600, 0)[np.random.default_rng(1).integers(0, 600, 2000)]
    labels = np.random.default_rng(2).integers(0, 3, 2000)
    splits = divide(labels, identities, THREE)
    assert all(len(set(splits[identities == picture])) == 1 for picture in np.unique(identities))


def test_too_small_a_class_is_named() -> None:
    labels, identities = np.array([0] * 20 + [1] * 5), np.array([*range(20), 50, 50, 50, 51, 51], dtype=np.uint64)
    with pytest.raises(DataError, match=r"class disgust has 2 different images.*3 splits.*data\.classes"):
        hash_split(labels, identities, THREE, seed=0, classes=("angry", "disgust"))


@pytest.mark.parametrize("fractions", [{}, {"train": 0.8, "test": 0.1}, {"train": 1.2, "test": -0.2}, {"a": 1, "b": 0}])
def test_fractions_must_make_a_whole(fractions: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="sum to 1"):
        divide(np.array([0, 1, 0, 1]), identities_of(4, 0), fractions)


def test_a_folder_scored_whole_is_one_split() -> None:
    assert set(divide(np.array([0, 1, 1]), identities_of(3, 0), {"test": 1.0})) == {"test"}
