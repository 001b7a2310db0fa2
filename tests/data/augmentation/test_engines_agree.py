"""Both engines draw the same distributions: each parameter is recovered from the pictures and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy import stats

from fer_lightning.data.augmentation.batched import BatchedEngine
from fer_lightning.data.augmentation.per_image import AlbumentationsEngine
from fer_lightning.data.augmentation.spec import Augmentation
from fer_lightning.data.source import draw_source

CONF = Path(__file__).parents[3] / "conf" / "augmentation"
STANDARD: Augmentation = instantiate(OmegaConf.load(CONF / "standard.yaml"))
SIDE, COUNT = 48, 4000
PLACES, LIGHTS = ("flip", "affine", "angle", "scale", "across", "down"), ("light", "brightness", "contrast")
HOLES = ("erase", "area", "ratio", "wide", "tall", "left", "top", "noise")
NAMES = (*PLACES, *LIGHTS, *HOLES)
SAME, OTHER = 1e-3, 1e-6  # p-values above the one agree, below the other they do not
CUT = {
    AlbumentationsEngine: 1.0,
    BatchedEngine: 0.0,
}  # levels lost on average: one cuts fractions off, twice, one rounds
ARM = 8.0  # pixels from the centre to the two outer spots


def _augment(engine: type[AlbumentationsEngine | BatchedEngine], spec: Augmentation, images: np.ndarray) -> np.ndarray:
    """float64 `(N, C, H, W)` of images uint8 `(N, C, H, W)`."""
    rows = torch.arange(len(images))
    seed = 1 if engine is BatchedEngine else 2
    return engine(spec, seed)(torch.from_numpy(images), 0, rows, torch.zeros_like(rows)).numpy().astype(float)


def _repeated(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(image.astype(np.uint8), (COUNT, *image.shape)))


def _spots() -> np.ndarray:
    """One bright spot in each channel: at the centre, to the right of it, and below it."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.stack([255 * np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / 8) for dx, dy in ((0, 0), (ARM, 0), (0, ARM))])


def _places(pictures: np.ndarray) -> dict[str, np.ndarray]:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    weights = pictures / pictures.sum((2, 3), keepdims=True)
    spots = np.stack([(weights * x).sum((2, 3)), (weights * y).sum((2, 3))], axis=-1)  # (N, spot, x and y)
    centre, right, below = spots[:, 0], spots[:, 1] - spots[:, 0], spots[:, 2] - spots[:, 0]
    angle, scale = np.degrees(np.arctan2(below[:, 0], below[:, 1])), np.hypot(*below.T) / ARM
    moved = (np.abs(angle) > 0.02) | (np.abs(scale - 1) > 1e-3) | (np.abs(centre).max(1) > 0.1)
    return {
        "flip": right[:, 0] * below[:, 1] - right[:, 1] * below[:, 0] < 0,
        "affine": moved,
        "angle": angle[moved],
        "scale": scale[moved],
        "across": centre[moved, 0],
        "down": centre[moved, 1],
    }


def _ramp() -> np.ndarray:
    """As steep as it can be without either change clipping it, and all levels in it, so that rounding averages out."""
    return np.linspace(40, 180, SIDE * SIDE).round().reshape(1, SIDE, SIDE)


def _lights(pictures: np.ndarray, cut: float) -> dict[str, np.ndarray]:
    ramp = _ramp()
    lit = (pictures != ramp).any((1, 2, 3))
    apart = ramp - ramp.mean()
    brightness = (pictures.mean((1, 2, 3)) + cut) / ramp.mean()
    contrast = (pictures * apart).sum((1, 2, 3)) / (apart**2).sum() / brightness
    return {"light": lit, "brightness": brightness[lit], "contrast": contrast[lit]}


def _holes(pictures: np.ndarray) -> dict[str, np.ndarray]:
    changed = (pictures > 0).any(1)
    erased = changed.any((1, 2))
    rows, columns = changed[erased].any(2), changed[erased].any(1)
    top, left = rows.argmax(1), columns.argmax(1)
    tall, wide = SIDE - rows[:, ::-1].argmax(1) - top, SIDE - columns[:, ::-1].argmax(1) - left
    inside = rows[:, None, :, None] & columns[:, None, None, :]
    noise = pictures[erased][np.broadcast_to(inside, pictures[erased].shape)]
    sizes = {"area": tall * wide, "ratio": wide / tall, "wide": wide, "tall": tall}
    return {"erase": erased, **sizes, "left": left, "top": top, "noise": noise[:20_000]}


def _measure(
    engine: type[AlbumentationsEngine | BatchedEngine], names: Sequence[str], **changes: Any
) -> dict[str, np.ndarray]:
    """Measure the drawn parameters once per picture, in the groups that contain one of `names`."""
    spec, found = replace(STANDARD, **changes), {}
    if {*names} & {*PLACES}:
        place = replace(spec, light=0.0, erase=0.0)
        found |= _places(_augment(engine, place, _repeated(_spots())))
    if {*names} & {*LIGHTS}:
        light = replace(spec, flip=0.0, affine=0.0, erase=0.0)
        found |= _lights(_augment(engine, light, _repeated(_ramp())), CUT[engine])
    if {*names} & {*HOLES}:
        hole = replace(spec, flip=0.0, affine=0.0, light=0.0)
        found |= _holes(_augment(engine, hole, _repeated(np.zeros((3, SIDE, SIDE)))))
    return found


@cache
def _measured(engine: type[AlbumentationsEngine | BatchedEngine]) -> dict[str, np.ndarray]:
    return _measure(engine, NAMES)


def _likeness(one: np.ndarray, two: np.ndarray) -> float:
    """The p-value of both being drawn from one distribution."""
    if one.dtype == bool:
        return stats.fisher_exact([[part.sum(), (~part).sum()] for part in (one, two)]).pvalue
    return stats.ks_2samp(one, two).pvalue


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_is_drawn_alike(name: str) -> None:
    ours, theirs = _measured(BatchedEngine), _measured(AlbumentationsEngine)
    assert set(ours) == set(theirs) == set(NAMES)
    assert len(ours[name]) > 500
    assert _likeness(ours[name], theirs[name]) > SAME


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"flip": 0.6}, "flip"),
        ({"rotate": 18.0}, "angle"),
        ({"shift": 0.12}, "across"),
        ({"shift": 0.12}, "down"),
        ({"zoom": 0.144}, "scale"),
        ({"affine": 0.96}, "affine"),
        ({"light": 0.6}, "light"),
        ({"brightness": 0.24}, "brightness"),
        ({"contrast": 0.24}, "contrast"),
        ({"erase": 0.3}, "erase"),
        ({"erase_area": (0.02, 0.24)}, "area"),
    ],
    ids=str,
)
def test_a_fifth_more_would_be_noticed(changes: dict[str, Any], name: str) -> None:
    changed = _measure(BatchedEngine, [name], **changes)
    assert _likeness(changed[name], _measured(AlbumentationsEngine)[name]) < OTHER


@pytest.mark.parametrize("engine", [AlbumentationsEngine, BatchedEngine])
def test_parameters_have_the_units_and_bounds_of_the_specification(
    engine: type[AlbumentationsEngine | BatchedEngine],
) -> None:
    found = _measured(engine)
    assert 14.5 < np.abs(found["angle"]).max() < 15.1
    assert 0.879 < found["scale"].min() < 0.89
    assert 1.11 < found["scale"].max() < 1.121
    for change in ("brightness", "contrast"):
        assert 0.795 < found[change].min() < 0.805
        assert 1.195 < found[change].max() < 1.205
    for axis in ("across", "down"):
        assert np.abs(found[axis] - found[axis].round()).max() < 0.1  # whole pixels
        assert set(found[axis].round()) == set(range(-4, 5))  # cut, not rounded: 0.1 of 48 is 4.8
        assert 1.6 < (found[axis].round() == 0).mean() / (found[axis].round() == 1).mean() < 2.4
    assert found["left"].min() == found["top"].min() == 0
    assert (found["left"] + found["wide"]).max() == (found["top"] + found["tall"]).max() == SIDE
    assert stats.chisquare(np.bincount(found["noise"].astype(int), minlength=256)).pvalue > SAME


@pytest.mark.parametrize("pair", [("angle", "scale"), ("angle", "across"), ("scale", "down"), ("across", "down")])
@pytest.mark.parametrize("engine", [AlbumentationsEngine, BatchedEngine])
def test_parameters_are_drawn_apart(engine: type[AlbumentationsEngine | BatchedEngine], pair: tuple[str, str]) -> None:
    one, two = (_measured(engine)[name] for name in pair)
    assert stats.spearmanr(one, two).pvalue > SAME


@cache
def _faces(channels: int) -> np.ndarray:
    counts = {"train": 1400, "validation": 0, "test": 0}
    return np.asarray(draw_source(counts, seed=0, image_size=SIDE, channels=channels).images)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strength", ["light", "standard", "strong"])
def test_whole_pictures_are_alike(strength: str, channels: int) -> None:
    spec, faces = instantiate(OmegaConf.load(CONF / f"{strength}.yaml")), _faces(channels)
    ours, theirs = (_augment(engine, spec, faces) for engine in (BatchedEngine, AlbumentationsEngine))
    assert _likeness(ours.mean((1, 2, 3)), theirs.mean((1, 2, 3))) > SAME
    assert _likeness(ours.std((1, 2, 3)), theirs.std((1, 2, 3))) > SAME
    apart = ours - theirs
    assert abs(apart.mean()) < CUT[AlbumentationsEngine]
    errors = apart.std(0) / np.sqrt(len(faces))
    assert np.abs(apart.mean(0) / errors).max() < 5  # pixel by pixel, over all faces
