"""The verb `predict`: finds the faces in each picture of its sources and writes what they express."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from omegaconf import DictConfig

from fer_lightning.core.atomic_write import make_folder
from fer_lightning.core.errors import DataError
from fer_lightning.inference.face import Faces
from fer_lightning.inference.load import load_predictor
from fer_lightning.inference.sources import Sources
from fer_lightning.inference.table import open_table

TABLE = "predictions.csv"
log = logging.getLogger(__name__)


class Output(Protocol):
    """A file that is written as pictures come."""

    def add(self, faces: Faces) -> None: ...


def predict(cfg: DictConfig) -> Path:
    """Write `predictions.csv` and what else is asked for, and return their folder.

    Raises:
        DataError: a source is not there, or with `strict`, a picture was unreadable.
        UserError: of the model and the detector, see `load_predictor`.
    """
    folder = Path(cfg.output_dir)
    sources = Sources.named(cfg.source, folder)
    predictor = load_predictor(cfg)
    statuses: Counter[str] = Counter()
    with ExitStack() as open_files:
        outputs: list[Output] = [
            open_files.enter_context(open_table(make_folder(folder) / TABLE, predictor.recognizer.classes))
        ]
        for faces in predictor.stream(picture for source in sources for picture in source):
            statuses.update(face.status for face in faces)
            for output in outputs:
                output.add(faces)
    log.info("%s: %s", folder / TABLE, ", ".join(f"{count} {status}" for status, count in statuses.items()))
    if cfg.strict and statuses["unreadable"]:
        raise DataError(f"{statuses['unreadable']} unreadable, see {folder / TABLE}")
    return folder
