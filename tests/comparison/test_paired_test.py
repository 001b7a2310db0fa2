"""Paired differences, against scipy and against chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, bootstrap
from sklearn.metrics import accuracy_score

from fer_lightning.comparison.paired_test import paired_difference


def table(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Two columns of a 2 × 2 table of images that both, one or neither have right."""
    counts = (both, first, second, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_the_value_is_the_difference_of_accuracies() -> None:
    one, other = table(50, 12, 5, 33)
    labels = np.ones(100, dtype=bool)
    expected = accuracy_score(labels, one) - accuracy_score(labels, other)
    assert paired_difference(one, other).value == pytest.approx(expected) == pytest.approx(0.07)


@pytest.mark.parametrize(("first", "second"), [(12, 5), (5, 12), (1, 9), (6, 6), (8, 0)])
def test_p_is_mcnemars_exact_test(first: int, second: int) -> None:
    """Twice the smaller tail of a fair coin, at most 1, as the textbook has it."""
    expected = min(1.0, 2 * binom.cdf(min(first, second), first + second, 0.5))
    assert paired_difference(*table(50, first, second, 30)).p == pytest.approx(expected)


def test_the_interval_is_agresti_and_mins() -> None:
    """By hand: 12 + ½ against 5 + ½ of 102, 7 / 102 ± 1.96 √((18 / 102 − (7 / 102)²) / 102)."""
    found = paired_difference(*table(50, 12, 5, 33))
    assert (found.low, found.high) == pytest.approx((-0.0118017, 0.1490566), abs=1e-6)


def test_the_interval_is_that_of_a_paired_bootstrap_where_there_are_many_images() -> None:
    one, other = table(600, 90, 60, 250)
    found = paired_difference(one, other)
    drawn = bootstrap(
        (one.astype(float), other.astype(float)),
        lambda a, b, axis=-1: a.mean(axis) - b.mean(axis),
        paired=True,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=0.002)


def test_the_interval_covers_what_it_should() -> None:
    random, truth, inside = np.random.default_rng(0), 0.05 - 0.15, 0
    for _ in range(2000):
        counts = random.multinomial(60, [0.5, 0.05, 0.15, 0.3])
        found = paired_difference(*table(*counts))
        inside += found.low <= truth <= found.high
    assert 0.94 <= inside / 2000 <= 0.98


def test_runs_that_always_agree_are_not_the_same_for_certain() -> None:
    found = paired_difference(*table(70, 0, 0, 30))
    assert (found.value, found.p) == (0, 1)
    assert -0.03 < found.low < 0 < found.high < 0.03


def test_both_ways_round_mirror_each_other() -> None:
    one, other = table(50, 12, 5, 33)
    there, back = paired_difference(one, other), paired_difference(other, one)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert there.p == back.p


def test_other_numbers_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"same images are compared, got \(3,\) and \(4,\)"):
        paired_difference(np.ones(3, dtype=bool), np.ones(4, dtype=bool))
    with pytest.raises(ValueError, match="same images"):
        paired_difference(np.ones(0, dtype=bool), np.ones(0, dtype=bool))
