"""Which images are taken for faces that were cut out already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_lightning.inference.cut_out import LOOKED_AT, are_cut_out, look_ahead

FACE, PHOTOGRAPH = np.zeros((48, 48), np.uint8), np.zeros((240, 320, 3), np.uint8)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(48, 48, True), (128, 128, True), (129, 129, False), (80, 100, True), (128, 96, False), (1, 1, True)],
)
def test_a_face_is_small_and_about_square(width: int, height: int, expected: bool) -> None:
    assert are_cut_out([np.zeros((height, width, 3), np.uint8)]) is expected
    assert are_cut_out([Image.new("L", (width, height))]) is expected


def test_one_photograph_among_faces_makes_photographs_of_all(tmp_path: Path) -> None:
    assert are_cut_out([FACE] * 3)
    assert not are_cut_out([FACE, PHOTOGRAPH, FACE])
    assert not are_cut_out([])
    unreadable = tmp_path / "none.png"
    assert are_cut_out([unreadable, FACE])
    assert not are_cut_out([unreadable])


def test_of_an_iterator_the_beginning_counts_and_nothing_is_lost() -> None:
    read = 0

    def images(*kinds: np.ndarray) -> Iterator[np.ndarray]:
        nonlocal read
        for image in kinds:
            read += 1
            yield image

    cut_out, found = look_ahead(images(FACE, PHOTOGRAPH, FACE, FACE))
    assert (cut_out, read) == (False, 2), "the first photograph decides"
    assert [image.shape for image in found] == [FACE.shape, PHOTOGRAPH.shape, FACE.shape, FACE.shape]
    read = 0
    cut_out, found = look_ahead(images(*[FACE] * LOOKED_AT, PHOTOGRAPH))
    assert (cut_out, read) == (True, LOOKED_AT)
    assert len([*found]) == LOOKED_AT + 1
    several = [*[FACE] * LOOKED_AT, PHOTOGRAPH]
    assert look_ahead(several) == (False, several)
    assert look_ahead(iter([]))[0] is False
