"""Duplicates across splits."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from fer_lightning.data.splits import duplicates_across


def test_twins_are_counted_in_the_later_split() -> None:
    digests = np.array([1, 1, 2, 3, 1, 1, 4, 3, 5, 1], dtype=np.uint64)
    splits = np.array(["train"] * 4 + ["validation"] * 3 + ["test"] * 3)
    expected = {("train", "validation"): 2, ("train", "test"): 2, ("validation", "test"): 1}
    assert duplicates_across(digests, splits) == expected
    assert duplicates_across(digests, np.full(10, "")) == {}


@pytest.mark.parametrize("most", [2**63, 20_000, 5])
def test_twins_are_counted_as_sets_count_them(most: int) -> None:
    digests = np.random.default_rng(0).integers(0, most, 3000, dtype=np.uint64)
    digests[2000:2100] = digests[:100]
    splits = np.repeat(["train", "validation", "test"], [1500, 1000, 500])
    parts = {split: digests[splits == split].tolist() for split in ("train", "validation", "test")}
    known = {split: set(part) for split, part in parts.items()}
    expected = {
        (here, there): sum(digest in known[here] for digest in parts[there]) for here, there in combinations(parts, 2)
    }
    assert duplicates_across(digests, splits) == {pair: count for pair, count in expected.items() if count}
    assert expected["train", "validation"] + expected["train", "test"] >= 100
