"""How long an ONNX file takes for one face on this machine."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from fer_lightning.inference.onnx_recognizer import OnnxRecognizer

TIMED = 50  # calls; the fastest is the one that other programs disturbed least


def milliseconds(face: np.ndarray, *files: Path) -> list[float]:
    """Return the shortest time of a face, uint8 `(1, C, S, S)`, in each file, called in turn, on one thread."""
    models = [OnnxRecognizer.load(path, threads=1) for path in files]
    taken = np.empty((TIMED, len(models)))
    for call in range(TIMED):
        for at, model in enumerate(models):
            begin = time.perf_counter()
            model(face)
            taken[call, at] = 1000 * (time.perf_counter() - begin)
    return [float(shortest) for shortest in taken.min(axis=0)]
