"""The picture of a heat map over its face."""

from __future__ import annotations

import numpy as np
import pytest

from fer_lightning.inference.explain.overlay import overlay


@pytest.mark.parametrize("channels", [1, 3])
def test_it_tints_a_grey_face_where_the_map_is_high(channels: int) -> None:
    face = np.random.default_rng(0).integers(0, 256, (channels, 48, 48), dtype=np.uint8)
    heat = np.zeros((48, 48), np.float32)
    heat[30:42, 14:34] = 1
    drawn = overlay(face, heat, 96).astype(int)
    assert drawn.shape == (96, 96, 3)
    redness = drawn[..., 0] - drawn[..., 2]
    assert redness[:40].max() == 0, "grey where nothing speaks for the class"
    assert redness[64:80, 34:62].min() > 60
    assert drawn[66:78, 36:60].std() > 5, "the face is still seen below the tint"


def test_an_empty_map_has_no_outline() -> None:
    drawn = overlay(np.full((1, 48, 48), 255, np.uint8), np.zeros((48, 48), np.float32))
    assert (drawn == 255).all()
