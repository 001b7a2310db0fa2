"""Suite `memory`: what a hundred times the data costs, in seconds to open them and in memory to train on them."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_lightning.benchmarks.bench import Bench, contender
from fer_lightning.benchmarks.paired_timing import ContenderError, run_once
from fer_lightning.benchmarks.rows import Goal, Row, alternating, number
from fer_lightning.config.overrides import quoted
from fer_lightning.core.errors import UserError

FER2013 = {"train": 28_695, "validation": 3_589}
TIMES = 100
STEPS = 200
VALIDATED = 10  # batches
MAX_TRAININGS = 3  # of each side: a run takes as much memory as the one before
SPARE = 10**9  # bytes of the disk that are left to others
# replaces what was typed for the user's own data; sizes, batches, engine and sampler stay as they are
PLAIN = (
    *("data.layout=folders", "data.holdout=auto", "data.resident=false", "data.num_workers=0"),
    *(f"data.{key}=null" for key in ("classes", "merge", "aliases", "code_order", "limit")),
)
log = logging.getLogger(__name__)


def memory(bench: Bench, times: int = TIMES, counts: Mapping[str, int] = FER2013, steps: int = STEPS) -> Iterator[Row]:
    """Compare a generated data set with one that is `times` as large.

    Args:
        bench: prepared.
        times: how much larger.
        counts: images of each split of the smaller one.
        steps: of training.
    """
    sizes = [{split: factor * count for split, count in counts.items()} for factor in (times, 1)]
    opening, training = rows = _rows(bench, times, steps, sizes)
    room = shutil.disk_usage(bench.folder).free - SPARE
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
        windows = int(bench.cfg.windows)
        yield _measure(bench, opening, settings, "seconds", windows, "generated.open_once")
        options = {"steps": steps, "validated": VALIDATED}
        turns = min(windows, MAX_TRAININGS)
        yield _measure(bench, training, settings, "memory", turns, "contenders.train_steps", **options)


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


def _measure(bench: Bench, row: Row, settings: list[str], figure: str, turns: int, work: str, **options: Any) -> Row:
    """Fill in a row by calling `work` for both sides in turn, each time in a process of its own.

    Its result holds the row's `figure`, and `memory`; `settings` are the files of the larger and of the smaller set.
    """
    log.info(f"{row.suite}: {row.what}, against {row.against}")
    results: tuple[list[dict[str, float]], ...] = ([], [])
    try:
        for _, side in alternating(turns):
            name = ("larger set", "smaller set")[side]
            results[side].append(run_once(contender(name, work, settings=settings[side], **options), bench.logs))
    except (UserError, ContenderError) as error:
        return replace(row, failed=str(error))
    peaks = [max(result["memory"] for result in side) for side in results]
    ours, baseline = ([result[figure] for result in side] for side in results)
    return row.filled(ours, baseline, memory=(peaks[0], peaks[1]))
