from __future__ import annotations

import numpy as np
import pytest

from fer_lightning.inference.detection.search import in_picture, search_copy


@pytest.mark.parametrize(
    ("shape", "expected", "scale"),
    [
        ((640, 320), (320, 160), 0.5),
        ((200, 300, 3), (200, 300, 3), 1.0),
        ((5000, 3), (320, 32), 0.064),  # a side of a fraction of a pixel has one, and an edge
        ((1, 1, 3), (32, 32, 3), 1.0),
    ],
)
def test_the_copy_is_small_and_not_too_small(shape: tuple[int, ...], expected: tuple[int, ...], scale: float) -> None:
    copy, found = search_copy(np.full(shape, 9, dtype=np.uint8), 320)
    assert (copy.shape, found, copy.flags.c_contiguous) == (expected, scale, True)
    assert copy.max() == 9


def test_what_is_no_picture_is_refused() -> None:  # a detector in C would read beyond its memory
    for shape, kind in (((8, 8, 4), np.uint8), ((8, 8), np.float32), ((8,), np.uint8)):
        with pytest.raises(ValueError, match="a picture is uint8"):
            search_copy(np.zeros(shape, dtype=kind), 320)


def test_boxes_return_to_the_picture_largest_first_and_one_a_face() -> None:
    found = [((10, 10, 20, 20), 0.7), ((11, 10, 20, 22), 0.9), ((50, 5, 40, 40), 0.6), ((3, 3, 0, 4), 1.0)]
    assert in_picture(found, 0.5) == [((100, 10, 80, 80), 0.6), ((22, 20, 40, 44), 0.9)]
