"""Shares of a heat map on the parts of a face."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fer_lightning.inference.explain.regions import PARTS, REGIONS, areas, shares


@pytest.mark.parametrize("side", [1, 17, 48, 224])
def test_an_even_map_has_the_shares_of_the_areas(side: int) -> None:
    (found,) = shares(np.ones((1, side, side)))
    assert dict(zip(PARTS, found, strict=True)) == pytest.approx(areas())
    assert sum(areas().values()) == pytest.approx(1)


def test_a_map_on_one_part_has_its_share_there() -> None:
    top, bottom, left, right = (round(48 * edge) for edge in REGIONS["mouth"])
    heat = np.zeros((2, 48, 48))
    heat[0, top + 1 : bottom - 1, left + 1 : right - 1] = 3
    first, second = shares(heat)
    assert dict(zip(PARTS, first, strict=True))["mouth"] == pytest.approx(1)
    assert np.isnan(second).all(), "an empty map has no shares"


def test_no_parts_overlap() -> None:
    for one, other in itertools.combinations(REGIONS.values(), 2):
        assert min(one[1], other[1]) <= max(one[0], other[0]) or min(one[3], other[3]) <= max(one[2], other[2])
