"""Transforms of Albumentations by name: what is refused, and how the rest is drawn."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from fer_lightning.core.errors import ConfigError
from fer_lightning.data.augmentation.per_image import AlbumentationsEngine
from fer_lightning.data.augmentation.spec import Augmentation


def _face() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (48, 48, 1), dtype=np.uint8)


def _digest(image: np.ndarray) -> str:
    return hashlib.md5(image.tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ([{"name": "GausNoise"}], r"no transform 'GausNoise'; did you mean GaussNoise"),
        ([{"name": "gaussnoise"}], r"did you mean GaussNoise"),
        ([{"name": "GaussNoise", "sigma": 3}], r"GaussNoise: got an unexpected keyword argument 'sigma'"),
        ([{"name": "ToSepia", "sigma": 3}], r"ToSepia: got an unexpected keyword argument 'sigma'"),
        ([{"name": "GaussNoise", "std_range": [3, 5]}], r"GaussNoise: std_range: .*must be >= 0 and <= 1"),
        ([{"name": "GaussNoise", "p": 7}], r"GaussNoise: p: .*\(got 7\)"),
        ([{"name": "OneOf", "transforms": [{"name": "Bluur"}]}], r"no transform 'Bluur'; did you mean Blur"),
        ([{"name": "OneOf"}], r"OneOf: missing a required argument: 'transforms'"),
        ([{"p": 0.5}], r"must name a transform"),
        (["GaussNoise"], r"'GaussNoise' must name a transform"),
        ({"name": "GaussNoise"}, r"must be a list"),
    ],
)
def test_bad_extras_are_refused_with_the_reason(extra: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"augmentation\.extra.*{message}"):
        Augmentation(extra=extra)


def test_extra_transforms_are_drawn_by_the_same_rule() -> None:
    extra = [
        {"name": "GaussNoise", "std_range": [0.1, 0.2], "p": 1.0},
        {"name": "OneOf", "p": 1.0, "transforms": [{"name": "GaussianBlur"}, {"name": "GridDistortion"}]},
        {"name": "PixelDropout", "p": 1.0},
    ]
    spec = Augmentation(extra=extra)
    one, two = (AlbumentationsEngine(spec, 0) for _ in range(2))
    one.check(48, 1)
    later = [_digest(two.augment_one(_face(), 0, row)) for row in reversed(range(20))][::-1]
    assert [_digest(one.augment_one(_face(), 0, row)) for row in range(20)] == later
    assert len(set(later)) == 20


def test_extra_comes_before_erase() -> None:
    spec = Augmentation(erase=1.0, extra=[{"name": "InvertImg", "p": 1.0}])
    augmented = AlbumentationsEngine(spec, 0).augment_one(np.zeros((48, 48, 1), np.uint8), 0, 0)
    assert (augmented == 255).mean() > 0.7
    assert (augmented != 255).any()
    assert augmented[augmented != 255].std() > 40  # noise, not inverted noise of zeros


@pytest.mark.parametrize(
    ("extra", "channels", "message"),
    [
        ({"name": "Resize", "height": 32, "width": 32}, 1, r"Resize gives uint8 \(32, 32, 1\)"),
        ({"name": "ToFloat"}, 1, r"ToFloat gives float32"),
        ({"name": "ISONoise", "p": 0.001}, 1, r"ISONoise fails on 48x48x1 images: .*3-channel"),
        ({"name": "FDA"}, 3, r"FDA fails on 48x48x3 images"),
    ],
)
def test_check_finds_extras_that_do_not_fit_the_images(extra: dict[str, Any], channels: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AlbumentationsEngine(Augmentation(extra=[extra]), 0).check(48, channels)


def test_an_extra_that_changes_the_size_is_refused_when_drawn() -> None:
    engine = AlbumentationsEngine(Augmentation(extra=[{"name": "Resize", "height": 32, "width": 32, "p": 1}]), 0)
    with pytest.raises(ConfigError, match="Resize gives"):
        engine.augment_one(_face(), 0, 0)
