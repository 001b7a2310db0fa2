"""Occlusion: exact answers of a linear model, captum's, and faces of odd sizes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_lightning.inference.explain.heat_maps import heat_maps
from fer_lightning.inference.explain.occlusion import occlusion


@dataclass
class Linear:
    """A recognizer whose probability of "happy" is a linear function of the pixels."""

    weights: np.ndarray  # (C, S, S)
    path: Path = Path("linear")
    classes: list[str] = field(default_factory=lambda: ["happy", "sad"])
    fingerprint: None = None

    @property
    def image_size(self) -> int:
        return int(self.weights.shape[-1])

    @property
    def channels(self) -> int:
        return len(self.weights)

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        happy = (faces * self.weights).sum(axis=(1, 2, 3))
        return np.stack([happy, 1 - happy], axis=1).astype(np.float32)


def linear(channels: int = 1, side: int = 48) -> Linear:
    return Linear(np.random.default_rng(1).uniform(0, 1e-6, (channels, side, side)))


def faces_of(channels: int = 1, side: int = 48, count: int = 2) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (count, channels, side, side), dtype=np.uint8)


def test_it_is_exact_for_a_linear_model() -> None:
    model, faces = linear(), faces_of()
    found = occlusion(model, faces, np.array([0, 1]))
    grey = faces.mean(axis=(1, 2, 3)).round()
    lost = (faces[:, 0] - grey[:, None, None]) * model.weights[0]  # what hiding each pixel takes from "happy"
    # the corner lies in one square only, the first; a pixel of the middle, (24, 24), in two by two
    assert found[0, 0, 0] == pytest.approx(lost[0, :12, :12].sum(), abs=1e-5)
    squares = [lost[0, y : y + 12, x : x + 12].sum() for y in (18, 24) for x in (18, 24)]
    assert found[0, 24, 24] == pytest.approx(np.mean(squares), abs=1e-5)
    assert found[1, 0, 0] == pytest.approx(-lost[1, :12, :12].sum(), abs=1e-5), "of the other class"


@pytest.mark.parametrize("channels", [1, 3])
def test_it_equals_captum(channels: int) -> None:
    captum = pytest.importorskip("captum.attr")
    model, faces = linear(channels), faces_of(channels)
    found = occlusion(model, faces, np.array([0, 0]))
    for face, ours in zip(faces, found, strict=True):
        grey = face.mean(axis=(1, 2)).round()
        theirs = captum.Occlusion(lambda batch: torch.from_numpy(model(batch.numpy()))).attribute(
            torch.from_numpy(face[None].astype(np.float32)),
            sliding_window_shapes=(channels, 12, 12),
            strides=(channels, 6, 6),
            baselines=torch.from_numpy(grey[None, :, None, None].repeat(48, 2).repeat(48, 3).astype(np.float32)),
            target=0,
        )
        np.testing.assert_allclose(ours, theirs[0, 0].numpy(), atol=1e-6)


@pytest.mark.parametrize("side", [1, 5, 40, 50, 113])
def test_every_pixel_of_any_size_is_hidden(side: int) -> None:
    model = Linear(np.ones((1, side, side)))
    found = occlusion(model, np.full((1, 1, side, side), 100, np.uint8), np.array([0]))
    assert found.shape == (1, side, side)
    np.testing.assert_array_equal(found, 0)  # and hiding an even face changes nothing
    assert heat_maps(model, faces_of(side=side, count=0)).shape == (0, side, side)


def test_heat_maps_are_scaled_to_one_and_explain_the_predicted_class() -> None:
    model, faces = linear(), faces_of()
    maps = heat_maps(model, faces)
    np.testing.assert_array_equal(maps.max(axis=(1, 2)), 1)
    np.testing.assert_array_equal(maps.min(axis=(1, 2)), 0)
    np.testing.assert_array_equal(maps, heat_maps(model, faces, classes=model(faces).argmax(axis=1)))
    assert not np.allclose(maps, heat_maps(model, faces, classes=model(faces).argmin(axis=1)))


def test_an_even_face_has_an_empty_map() -> None:
    np.testing.assert_array_equal(heat_maps(linear(), np.full((1, 1, 48, 48), 7, np.uint8)), 0)


def test_an_unknown_method_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match="method=lime: choose one of occlusion, gradcam"):
        heat_maps(linear(), faces_of(), "lime")  # type: ignore[arg-type]
