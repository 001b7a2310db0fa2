"""Suite `inference`: scoring the validation split."""

from __future__ import annotations

from collections.abc import Iterator

from fer_lightning.benchmarks.bench import Bench, contender
from fer_lightning.benchmarks.rows import Goal, Row, unmet


def inference(bench: Bench) -> Iterator[Row]:
    """Time the predictions that `evaluate` makes."""
    settings, images = bench.settings(), bench.facts["validation"]
    needs = unmet((bench.cfg.model.backbone == "small_cnn", "small_cnn"), (not bench.on_gpu, "a CPU"))
    uploads = "ours brings the images to the GPU in each pass, as evaluate does; the bare loop finds them there"
    yield bench.measure(
        Row(
            "inference",
            f"{bench.cfg.model.backbone}: evaluate {images:,} images",
            "bare loop",
            goal=Goal("ratio", "least", 0.95, needs),
            notes=(uploads,) if bench.on_gpu else (),
        ),
        contender("ours", "predict", settings=settings, split="validation"),
        contender("bare loop", "predict_bare", settings=settings, split="validation"),
    )
