"""The importance of settings, for scores that depend on known ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_lightning.comparison.importance import MIN_RUNS, Importance, encode, weigh_settings
from fer_lightning.runs.read import RecordedRun
from fer_lightning.runs.settings import Settings


def runs(count: int, *, noise: float = 0.0, flat: bool = False) -> list[RecordedRun]:
    """Runs whose score depends a lot on the learning rate, a little on the network, and on nothing else."""
    random = np.random.default_rng(0)
    found = []
    for at in range(count):
        rate, network, drop = (
            10 ** random.uniform(-5, -1),
            random.choice(["vgg16", "small_cnn"]),
            random.uniform(0, 0.5),
        )
        value = (
            0.5 - 0.1 * abs(np.log10(rate) + 3) + 0.05 * (network == "vgg16") + random.normal(0, noise) * (noise > 0)
        )
        typed = {"optimizer.lr": rate, "model.backbone": str(network), "model.drop_rate": drop, "seed": at % 3}
        metrics = {"monitor": "val/acc", "monitored": 0.5 if flat else value}
        found.append(RecordedRun(Path(str(at)), str(at), metrics=metrics, settings=Settings(typed)))
    return found


KEYS = ["model.drop_rate", "seed", "model.backbone", "optimizer.lr"]


def test_the_most_important_setting_comes_first() -> None:
    found = weigh_settings(runs(60), KEYS)
    assert isinstance(found, Importance)
    assert found.keys[:2] == ("optimizer.lr", "model.backbone")
    assert found.loss[0] > 5 * found.loss[2]
    assert 0.5 < found.explained < 1
    assert found.first(2).keys == found.keys[:2]


def test_noise_is_called_noise() -> None:
    found = weigh_settings(runs(40, noise=5.0), KEYS)
    assert isinstance(found, str)
    assert "would be noise" in found


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            weigh_settings(runs(MIN_RUNS - 1), KEYS),
            f"needs {MIN_RUNS} finished runs on the same images, and there are {MIN_RUNS - 1}",
        ),
        (weigh_settings(runs(20), ["seed"]), "differ in their seed only"),
        (weigh_settings(runs(20), []), "differ in their seed only"),
        (weigh_settings(runs(20, flat=True), KEYS), "have the same score"),
    ],
)
def test_it_is_said_why_there_is_none(found: Importance | str, said: str) -> None:
    assert isinstance(found, str)
    assert said in found


def test_numbers_stay_and_names_are_numbered() -> None:
    np.testing.assert_array_equal(encode([1, 2.5]), [1, 2.5])
    np.testing.assert_array_equal(encode(["b", "a", "b"]), [1, 0, 1])
    np.testing.assert_array_equal(encode([True, False]), [1, 0])
    np.testing.assert_array_equal(encode([None, 3]), [1, 0])
