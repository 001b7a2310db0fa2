"""From pictures to labelled faces: the one way that the verbs, the web page and a notebook take."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from fer_lightning.data.cache.decode import DecodeError, decode_picture, fit_image
from fer_lightning.inference.crop import crop_face
from fer_lightning.inference.detection.detector import FaceDetector, FaceMode
from fer_lightning.inference.detection.load import load_detector
from fer_lightning.inference.face import UNCERTAIN, Box, Face, Faces
from fer_lightning.inference.recognizer import Recognizer, load_recognizer
from fer_lightning.inference.shipped import find_model

WHOLE_SIDE = 128  # pixels: smaller pictures that are about square are taken for faces that were cut out already
log = logging.getLogger(__name__)


@dataclass
class Predictor:
    """Finds faces in pictures and recognises their expressions.

    Attributes:
        recognizer: the trained model.
        detector: what finds faces; None takes each picture as one face.
        threshold: confidence below which a label is `uncertain`.
        batch_size: faces that the model gets at once.
    """

    recognizer: Recognizer
    detector: FaceDetector | None
    threshold: float = 0.0
    batch_size: int = 64

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        faces: FaceMode = "auto",
        detector_file: str | Path | None = None,
        threshold: float = 0.0,
        batch_size: int = 64,
        threads: int | None = None,
    ) -> Predictor:
        """Return the predictor of a model.

        Args:
            path: a checkpoint of `fer_lightning.train` or an ONNX file of `fer_lightning.export`.
            faces: how faces are found, see `load_detector`; `whole` takes each picture as a face that is cut out.
            detector_file: see `load_detector`.
            threshold, batch_size: see the class.
            threads: of the CPU; None for as many as there are cores.

        Raises:
            CheckpointError: the file is no model of fer_lightning.
            ConfigError: the detector or onnxruntime is not installed.
        """
        recognizer = load_recognizer(find_model(path), threads=threads)
        detector = None if faces == "whole" else load_detector(faces, detector_file)
        return cls(recognizer, detector, threshold, batch_size)

    def __call__(self, images: Any) -> list[Faces]:
        """Return the faces of each image: a path, a PIL image, an array or tensor, or a sequence of these."""
        return [self.recognize(*read_image(image)) for image in as_list(images)]

    def recognize(self, picture: np.ndarray | None, source: str = "", note: str | None = None) -> Faces:
        """Return the faces of a picture, uint8 `(H, W)` grey or `(H, W, 3)` RGB."""
        if picture is None:
            return Faces([Face(status="unreadable")], None, source, note)
        size, channels = self.recognizer.image_size, self.recognizer.channels
        boxes: list[Box | None]
        if self.detector is None:
            boxes, crops = [None], [fit_image(picture, size, channels)]
        else:
            boxes = [detection.box for detection in self.detector(picture)]
            crops = [crop_face(picture, box, size, channels) for box in boxes if box is not None]
        if not boxes:
            return Faces([Face(status="no_face")], picture, source, note)
        probabilities = self.recognizer(np.stack(crops))
        return Faces(map(self._face, probabilities, boxes), picture, source, note)

    def _face(self, probabilities: np.ndarray, box: Box | None) -> Face:
        by_name = dict(zip(self.recognizer.classes, map(float, probabilities), strict=True))
        label = max(by_name, key=by_name.__getitem__)
        certain = by_name[label] >= self.threshold
        return Face(label if certain else UNCERTAIN, by_name[label], by_name, box, "ok" if certain else "uncertain")


def as_list(images: Any) -> Sequence[Any]:
    """Return one image, or a sequence of images, as a sequence."""
    return images if isinstance(images, (list, tuple)) else [images]


def read_image(image: Any) -> tuple[np.ndarray | None, str, str | None]:
    """Return the picture, its name, and why there is none."""
    if isinstance(image, (str, PathLike)):
        try:
            return decode_picture(Path(image).read_bytes()), str(image), None
        except (OSError, DecodeError) as error:
            return None, str(image), str(error)
    return np.asarray(image), "", None
