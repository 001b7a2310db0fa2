"""The verb `predict`: finds the faces in each picture of its sources and writes what they express."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from fer_lightning import __version__
from fer_lightning.core.atomic_write import make_folder
from fer_lightning.core.file_names import shown
from fer_lightning.inference.annotate import AnnotatedCopies, draw_faces
from fer_lightning.inference.batch import Batch, Output, open_batch
from fer_lightning.inference.json_file import open_json
from fer_lightning.inference.predictor import Predictor
from fer_lightning.inference.table import open_table
from fer_lightning.inference.video.outputs import open_video_outputs

TABLE, JSON, ANNOTATED = "predictions.csv", "predictions.json", "annotated"


def predict(cfg: DictConfig) -> Path:
    """Write `predictions.csv`, `predictions.json` and annotated copies, and return their folder.

    Raises:
        UserError: see `open_batch` and `Batch.run`.
    """
    batch = open_batch(cfg, ANNOTATED)
    batch.run(_open_outputs(cfg, batch), [TABLE, JSON, f"{ANNOTATED}/"], smooth=cfg.smooth, hold=cfg.hold)
    return batch.folder


@contextmanager
def _open_outputs(cfg: DictConfig, batch: Batch) -> Iterator[list[Output]]:
    folder, classes = make_folder(batch.folder), batch.predictor.recognizer.classes
    copies = AnnotatedCopies(folder / ANNOTATED, batch.sources.names, classes)
    draw = (lambda picture, faces: draw_faces(picture, faces, classes, smallest=1)) if cfg.annotate else None
    with (
        open_table(folder / TABLE, classes) as table,
        open_json(folder / JSON, facts(cfg, batch.predictor)) as json,
        open_video_outputs(
            lambda source: copies.folder / copies.place(source),
            classes,
            every=cfg.every,
            draw=draw,
            timeline=cfg.timeline,
        ) as videos,
    ):
        yield [table, json, *([copies] if cfg.annotate else []), videos]


def facts(cfg: DictConfig, predictor: Predictor) -> dict[str, Any]:
    """Return what the predictions were made with."""
    model = predictor.recognizer
    return {
        "fer_lightning": __version__,
        "model": {
            "path": shown(str(model.path)),
            "classes": list(model.classes),
            "image_size": model.image_size,
            "channels": model.channels,
            "fingerprint": model.fingerprint,
        },
        "faces": "whole" if predictor.detector is None else predictor.detector.name,
        "threshold": predictor.threshold,
        "views": predictor.views,
        "videos": {key: cfg[key] for key in ("every", "seconds", "smooth", "hold")},
    }
