"""What the page and its HTTP interface ask for: one model, used by several people at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar, get_args

import numpy as np
from anyio import CapacityLimiter, to_thread

from fer_lightning.core.errors import ConfigError, UserError
from fer_lightning.inference.crop import crop_face
from fer_lightning.inference.detection.detector import FaceDetector, FaceMode
from fer_lightning.inference.detection.load import load_detector
from fer_lightning.inference.explain.heat_maps import heat_maps
from fer_lightning.inference.face import Faces
from fer_lightning.inference.pictures import read_image
from fer_lightning.inference.predictor import Predictor
from fer_lightning.system.resources import available_cores

P = ParamSpec("P")
T = TypeVar("T")


class BusyError(UserError):
    """Too many pictures are waiting."""


class Choice(NamedTuple):
    """How a picture is looked at: how faces are found, and the confidence below which a label is uncertain."""

    faces: str
    threshold: float

    @classmethod
    def parse(cls, faces: str, threshold: object, modes: Mapping[str, object]) -> Choice:
        """Return a choice as a client sends it; a ConfigError if it is none."""
        if faces not in modes:
            raise ConfigError(f"faces={faces} is not one of {', '.join(modes)}")
        try:
            value = float(str(threshold))
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise ConfigError(f"threshold={threshold} is not a number from 0 to 1")
        return cls(faces, value)


class Service:
    """Recognises the faces of pictures, several at a time, and turns away what would wait too long.

    Args:
        predictor: the model, and how faces are found by default.
        faces: the name of that way.
        detector_file: see `load_detector`.
        queue: pictures that may wait.

    Attributes:
        predictors: by the ways to find faces that work on this machine.
    """

    def __init__(
        self, predictor: Predictor, faces: FaceMode = "auto", detector_file: str | Path | None = None, queue: int = 32
    ) -> None:
        self.recognizer, self.faces, self.queue = predictor.recognizer, faces, queue
        self.predictors: dict[str, Predictor] = {}
        for mode in get_args(FaceMode):
            detector = _detector(mode, detector_file)
            if mode == faces:
                self.predictors[mode] = predictor
            elif mode == "whole" or detector is not None:
                self.predictors[mode] = replace(predictor, detector=detector, auto=mode == "auto")
        # Each picture takes one core: with two threads for each, two pictures at once cost a quarter to a half more
        # processor time. Faces of one picture share a batch, those of several visitors do not: decoding and detection
        # are nine tenths of the work, and on a CPU eight faces at once take 17 ms, one after the other 18 ms, so that a
        # batch would only make the first wait for the last.
        self._cores, self._pending = CapacityLimiter(available_cores()), 0

    def recognize(self, data: bytes, source: str, choice: Choice) -> Faces:
        """Return the faces of the content of a file; see `Face.status` for what is no picture."""
        picture = read_image(data)
        predictor = replace(self.predictors[choice.faces], threshold=choice.threshold)
        return predictor.recognize(picture.pixels, source, picture.note)

    def crops(self, faces: Faces) -> np.ndarray:
        """Return what the model saw of each face that was found: uint8 `(B, C, S, S)`."""
        size, channels, picture = self.recognizer.image_size, self.recognizer.channels, faces.picture
        found = [face.box for face in faces if face.label is not None]
        crops = [] if picture is None else [crop_face(picture, box, size, channels) for box in found]
        return np.stack(crops) if crops else np.zeros((0, channels, size, size), np.uint8)

    def heat_maps(self, crops: np.ndarray) -> np.ndarray:
        """Return where the model looked for its most probable class: float32 `(B, S, S)` in [0, 1]."""
        return heat_maps(self.recognizer, crops)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a thread, when its turn has come.

        Raises:
            BusyError: as many pictures wait as may.
        """
        if self._pending >= self.queue + self._cores.total_tokens:
            raise BusyError(f"{self.queue} pictures are waiting: try again in a moment")
        self._pending += 1
        try:
            return await to_thread.run_sync(lambda: function(*args, **kwargs), limiter=self._cores)
        finally:
            self._pending -= 1


def _detector(faces: FaceMode, file: str | Path | None) -> FaceDetector | None:
    """Return a detector, or None where it is not installed, or where the file is for another one."""
    if faces == "whole":
        return None
    try:
        return load_detector(faces, file)
    except ConfigError:
        return None
