from __future__ import annotations

import numpy as np
import pytest

from fer_lightning.inference.detection.search import Found, find_faces, once_each, search_copy
from fer_lightning.inference.face import Box


@pytest.mark.parametrize(
    ("shape", "expected", "scale"),
    [
        ((640, 640, 3), (320, 320, 3), 0.5),
        ((1280, 320), (640, 160), 0.5),
        ((160, 160), (320, 320), 2.0),  # a small face is found better in a larger copy
        ((5000, 3), (640, 32), 0.128),  # a side of a fraction of a pixel has one, and an edge
        ((1, 1, 3), (32, 32, 3), 4.0),
        ((0, 4), (0, 4), 1.0),
    ],
)
def test_the_copy_is_neither_large_nor_tiny(shape: tuple[int, ...], expected: tuple[int, ...], scale: float) -> None:
    copy, found = search_copy(np.full(shape, 9, dtype=np.uint8), 320)
    assert (copy.shape, found, copy.flags.c_contiguous) == (expected, scale, True)
    assert copy.size == 0 or copy.max() == 9


def test_what_is_no_picture_is_refused() -> None:  # a detector in C would read beyond its memory
    for shape, kind in (((8, 8, 4), np.uint8), ((8, 8), np.float32), ((8,), np.uint8)):
        with pytest.raises(ValueError, match="a picture is uint8"):
            search_copy(np.zeros(shape, dtype=kind), 320)


@pytest.mark.parametrize(
    ("side", "searched"),
    [(60, [100]), (40, [100, 200]), (None, [100, 200])],  # of the face in the first copy
)
def test_a_larger_copy_is_searched_for_small_faces(side: int | None, searched: list[int]) -> None:
    sides: list[int] = []

    def search(copy: np.ndarray) -> list[Found]:
        sides.append(copy.shape[0])
        return [] if side is None else [((10, 10, side * sides[-1] / 100, side * sides[-1] / 100), 0.9)]

    picture = np.zeros((400, 400), dtype=np.uint8)
    found = find_faces(picture, search, (100, 200), large=50)
    assert sides == searched
    assert [box.w for box, _ in found] == ([] if side is None else [4 * side])
    sides.clear()
    find_faces(picture[:20, :20], search, (100, 200), large=50)  # enlarged as far as it may be at once
    assert len(sides) == 1


def test_boxes_are_the_largest_first_and_one_a_face() -> None:
    found = [
        (Box(20, 20, 40, 40), 0.7),
        (Box(22, 20, 40, 44), 0.9),
        (Box(100, 10, 80, 80), 0.6),
        (Box(6, 6, 0, 8), 1.0),
    ]
    assert once_each(found) == [((100, 10, 80, 80), 0.6), ((22, 20, 40, 44), 0.9)]
