"""Suite `memory`: what a hundred times the data costs, in seconds to open them and in memory to train on them."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fer_lightning.benchmarks.bench import Bench, attempt, contender
from fer_lightning.benchmarks.paired_timing import ContenderError, run_once
from fer_lightning.benchmarks.rows import Goal, Row, in_turn, number
from fer_lightning.config.overrides import quoted
from fer_lightning.core.errors import UserError

FER2013 = {"train": 28_695, "validation": 3_589}
VALIDATED = 10  # batches
# replaces what was typed for the user's own data; sizes, batches, engine and sampler stay as they are
PLAIN = (
    *("data.layout=folders", "data.holdout=auto", "data.resident=false", "data.num_workers=0"),
    *(f"data.{key}=null" for key in ("classes", "merge", "aliases", "code_order", "limit")),
)
log = logging.getLogger(__name__)


def memory(bench: Bench, times: int = 100, counts: Mapping[str, int] = FER2013, steps: int = 200) -> Iterator[Row]:
    """Compare a generated data set of `counts` images a split with one `times` as large, in `steps` of training."""
    sizes = [{split: factor * count for split, count in counts.items()} for factor in (times, 1)]
    opening, training = rows = _rows(bench, times, steps, sizes)
    room = shutil.disk_usage(bench.folder).free - 10**9  # bytes; the last is left to others
    if room < _bytes(bench, sizes):
        short = f"{bench.folder.parent} has room for {max(room, 0) / 1e9:.1f} GB: type TMPDIR=FOLDER before the command"
        yield from (replace(row, skipped=short) for row in rows)
        return
    with tempfile.TemporaryDirectory(prefix="generated_", dir=bench.folder) as place:
        try:
            settings = [_generate(bench, Path(place, str(side)), size) for side, size in enumerate(sizes)]
        except (UserError, ContenderError) as error:
            yield from (replace(row, failed=f"nothing was generated: {error}") for row in rows)
            return
        measure, windows = partial(_measure, bench, settings), int(bench.cfg.windows)
        yield attempt(opening, partial(measure, opening, "seconds", windows, "generated.open_once"))
        train, options = "contenders.train_steps", {"steps": steps, "validated": VALIDATED}
        turns = min(windows, 3)  # a run takes as much memory as the one before
        yield attempt(training, partial(measure, training, "memory", turns, train, **options))


def _rows(bench: Bench, times: int, steps: int, sizes: list[dict[str, int]]) -> tuple[Row, Row]:
    """Return both rows without figures."""
    larger, smaller = f"{times} × FER-2013 ({sum(sizes[0].values()):,} generated images)", "1 × FER-2013"
    generated = f"the suite writes {number(_bytes(bench, sizes) / 1e9)} GB of noise and removes it; nothing is decoded"
    read = f"batches of {bench.cfg.data.batch_size}, read from disk by the training process itself"
    validated = f"an epoch that ends within the steps, as none of the larger set does, validates {VALIDATED} batches"
    second, more = Goal("ours", "most", 1), Goal("difference", "most", 300)
    streamed = f"peak resident set of {steps} streamed training steps, {larger}"
    return (
        Row("memory", f"warm open, {larger}", smaller, "s", goal=second, notes=(generated,)),
        Row("memory", streamed, smaller, "MB", goal=more, notes=(read, validated)),
    )


def _bytes(bench: Bench, sizes: list[dict[str, int]]) -> int:
    """Return the bytes of both sets on the disk: pixels, and path, digest and label of each image."""
    image = bench.cfg.data.channels * bench.cfg.data.image_size**2 + 50
    return int(image * sum(sum(size.values()) for size in sizes))


def _generate(bench: Bench, place: Path, counts: dict[str, int]) -> str:
    """Write a data set and return the file of the user's settings with it as data."""
    root, cache_dir = str(place / "faces"), str(place / "cache")
    data = bench.cfg.data
    options = {"counts": counts, "image_size": data.image_size, "channels": data.channels}
    log.info(f"memory: generating {sum(counts.values()):,} images")
    run_once(contender("generator", "generated.generate", root=root, cache_dir=cache_dir, **options), bench.logs)
    return bench.settings(*PLAIN, f"data.root={quoted(root)}", f"data.cache_dir={quoted(cache_dir)}")


def _measure(bench: Bench, settings: list[str], row: Row, figure: str, turns: int, work: str, **options: Any) -> Row:
    """Fill in a row with the `figure` in the results of `work`, called for the settings of both sets in turn."""

    def call(_: int, side: int) -> dict[str, float]:
        own = contender(("larger set", "smaller set")[side], work, settings=settings[side], **options)
        return dict(run_once(own, bench.logs))

    log.info(f"{row.suite}: {row.what}, against {row.against}")
    results = in_turn(turns, call)
    ours, baseline = ([result[figure] for result in side] for side in results)
    first, second = (max(result["memory"] for result in side) for side in results)
    return row.filled(ours, baseline, memory=(first, second))
