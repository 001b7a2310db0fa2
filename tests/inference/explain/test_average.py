"""Averages of heat maps over the images of a class that are predicted right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fer_lightning.inference.explain.average import average_maps
from fer_lightning.inference.explain.heat_maps import heat_maps
from fer_lightning.inference.explain.regions import shares


@dataclass
class Mouth:
    """A recognizer by the brightness of the lower third: bright is "happy", dark is "sad"; never "fear"."""

    path: Path = Path("mouth")
    classes: tuple[str, ...] = ("happy", "sad", "fear")
    image_size: int = 24
    channels: int = 1
    fingerprint: None = None

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        happy = 0.98 * faces[:, 0, 16:].mean(axis=(1, 2)) / 255 + 0.01 if len(faces) else np.zeros(0)
        return np.stack([happy, 0.99 - happy, np.full(len(faces), 0.01)], axis=1).astype(np.float32)


LABELS = np.arange(60) % 3
FACES = np.random.default_rng(0).integers(0, 256, (60, 1, 24, 24), dtype=np.uint8)
FACES[:, :, 16:] = FACES[:, :, 16:] // 4 + np.where(LABELS == 0, 180, 10).astype(np.uint8)[:, None, None, None]
WRONG = 3  # a "happy" image that looks sad
FACES[WRONG, :, 16:] = 0


def test_only_images_that_are_predicted_right_count_and_each_counts_the_same() -> None:
    happy, sad, fear = average_maps(Mouth(), FACES.__getitem__, LABELS, method="occlusion", per_class=100)
    assert (happy.name, happy.images, sad.images, fear.images) == ("happy", 19, 20, 0)
    right = FACES[(LABELS == 0) & (np.arange(60) != WRONG)]
    maps = heat_maps(Mouth(), right).astype(float)
    expected = (maps / maps.sum(axis=(1, 2), keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(happy.heat_map, expected, atol=1e-9)
    np.testing.assert_allclose(happy.shares, shares(maps).mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(happy.face, right.mean(axis=0), atol=0.51)
    assert happy.heat_map[16:].sum() > 0.6, "it looks at the lower third"
    assert np.isnan(fear.shares).all()


def test_a_sample_is_as_large_as_asked_and_the_same_again() -> None:
    read: list[int] = []

    def images(rows: np.ndarray) -> np.ndarray:
        read.append(len(rows))
        return FACES[rows]

    first, again = (
        [*average_maps(Mouth(), images, LABELS, method="occlusion", per_class=4, seed=seed)] for seed in (0, 0)
    )
    assert [each.images for each in first] == [4, 4, 0]
    assert max(read) <= 32
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.heat_map, other.heat_map)


def test_labels_that_the_model_does_not_know_are_left_out() -> None:
    (happy, *_) = average_maps(Mouth(), FACES.__getitem__, np.full(60, -1), method="occlusion", per_class=4)
    assert happy.images == 0


@pytest.mark.parametrize("per_class", [1, 33])
def test_the_count_is_what_is_averaged(per_class: int) -> None:
    labels, faces = np.zeros(50, int), np.repeat(FACES[:1], 50, axis=0)
    (happy, *_) = average_maps(Mouth(), faces.__getitem__, labels, method="occlusion", per_class=per_class)
    assert happy.images == per_class
    np.testing.assert_array_equal(happy.face, FACES[0])
