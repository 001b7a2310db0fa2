from __future__ import annotations

import numpy as np
import pytest

from fer_lightning.data.cache.decode import fit_image
from fer_lightning.inference.crop import crop_face
from fer_lightning.inference.face import Box

PICTURE = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8)  # row r, column c: 8 r + c


def test_the_whole_picture_is_resized_as_training_does() -> None:
    rng = np.random.default_rng(0)
    for shape in ((48, 48), (37, 37), (100, 100, 3), (101, 101, 3)):
        picture = rng.integers(0, 256, shape, dtype=np.uint8)
        for channels in (1, 3):
            crop = crop_face(picture, Box(0, 0, shape[1], shape[0]), 48, channels)
            assert (crop == fit_image(picture, 48, channels)).all()
            assert (crop.shape, crop.dtype) == ((channels, 48, 48), np.uint8)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        (Box(2, 1, 3, 3), (1, 2, 3), (2, 3, 4)),
        (Box(2, 1, 2, 4), (1, 2, 3, 4), (1, 2, 3, 4)),  # a square around the centre of the box
        (Box(2, 1, 4, 2), (0, 1, 2, 3), (2, 3, 4, 5)),
        (Box(-2, -1, 4, 4), (0, 0, 1, 2), (0, 0, 0, 1)),  # outermost pixels are repeated
        (Box(6, 4, 4, 4), (4, 5, 5, 5), (6, 7, 7, 7)),
        (Box(-1, -2, 10, 10), (0, 0, 0, 1, 2, 3, 4, 5, 5, 5), (0, 0, 1, 2, 3, 4, 5, 6, 7, 7)),
        (Box(5, 5, 1, 1), (5,), (5,)),
        (Box(100, -50, 3, 3), (0, 0, 0), (7, 7, 7)),  # beyond the picture: its nearest corner
    ],
)
def test_the_crop_has_these_pixels(box: Box, rows: tuple[int, ...], columns: tuple[int, ...]) -> None:
    (crop,) = crop_face(PICTURE, box, len(rows), 1, margin=0)
    assert crop.tolist() == PICTURE[np.ix_(rows, columns)].tolist()


def test_a_margin_widens_all_sides() -> None:
    (crop,) = crop_face(PICTURE, Box(3, 2, 2, 2), 4, 1, margin=0.5)
    assert crop.tolist() == PICTURE[1:5, 2:6].tolist()
    (crop,) = crop_face(PICTURE, Box(2, 1, 4, 4), 2, 1, margin=-0.25)
    assert crop.tolist() == PICTURE[2:4, 3:5].tolist()
    assert crop_face(PICTURE, Box(4, 4, 0, 0), 1, 1, margin=-0.5).tolist() == [[[PICTURE[4, 4]]]]


def test_colours_are_kept_or_made_grey() -> None:
    picture = np.stack([PICTURE, PICTURE + 50, PICTURE + 100], axis=2)
    crop = crop_face(picture, Box(1, 1, 3, 3), 3, 3)
    assert crop.tolist() == picture[1:4, 1:4].transpose(2, 0, 1).tolist()
    assert (crop_face(picture, Box(1, 1, 3, 3), 3, 1) == fit_image(picture[1:4, 1:4], 3, 1)).all()
