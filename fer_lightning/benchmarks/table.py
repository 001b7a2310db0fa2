"""The rows as a table on the screen, as Markdown, and as JSON with the record of the machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from fer_lightning.benchmarks.rows import Row, Spread, number
from fer_lightning.core.atomic_write import write_text

# what each baseline is; their code is in fer_lightning/benchmarks/baselines.py
LEGEND = {
    "bare Hydra": "a program that does nothing but compose the same files with Hydra",
    "textbook loop": "torchvision's ImageFolder and transforms, DataLoader with 2 workers, fp32, NCHW",
    "textbook loader": "torchvision's ImageFolder and transforms, DataLoader with 2 workers",
    "expert loop": "a bare loop with the same data in memory, network, precision, augmentation and optimizer; its "
    "memory contains our imports",
    "bare loop": "inference_mode with the same data in memory, network and precision; its memory contains our imports",
    "bare onnxruntime": "a session of onnxruntime on faces that are cut out, in one array of the size that it takes",
    "detector and onnxruntime alone": "finds the same faces, and recognises one that is cut out already",
    "Haar cascade": "OpenCV 4's for frontal faces, in a copy of as many pixels as a square of 320",
    "8 photographs in turn": "the Predictor alone, without a server: what the last of 8 users has to wait at least",
    "Keras fit": "the same network in Keras on TensorFlow, ImageDataGenerator, fit",
    "a pass with Pillow": "opens, converts and resizes each file of an ImageFolder, in one process",
    "ImageFolder": "torchvision's; it lists the files and opens none",
    "1 × FER-2013": "the same of a generated set of its size",
}
HEADINGS = ("what", "ours", "against", "its figure", "ratio", "goal", "memory, MB")


def print_rows(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print the table, the legend and the notes."""
    screen = console or (Console() if sys.stdout.isatty() else Console(width=160))  # a file has no width
    columns = [Column(name, justify="left" if name in ("what", "against") else "right") for name in HEADINGS]
    table = Table(*columns, show_edge=False, pad_edge=False)
    for suite in dict.fromkeys(row.suite for row in rows):
        table.add_row(f"[bold]{suite}[/bold]")
        for row in rows:
            if row.suite == suite:
                table.add_row(*cells(row))
    screen.print(table)
    for line in (*legend(rows), *notes(rows)):
        screen.print(line, highlight=False, markup=False, soft_wrap=True)


def markdown(rows: Sequence[Row], machine: str) -> str:
    """Return the table as Markdown, with a line on the machine above, and legend and notes below."""
    lines = [machine, "", f"| suite | {' | '.join(HEADINGS)} |", "|---" * (1 + len(HEADINGS)) + "|"]
    lines += [f"| {row.suite} | {' | '.join(cells(row))} |" for row in rows]
    return "\n".join([*lines, "", *(f"- {line}" for line in (*legend(rows), *notes(rows))), ""])


def write_rows(rows: Sequence[Row], folder: Path, machine: str, **record: Any) -> None:
    """Write `benchmark.json`, which also holds `record`, and `benchmark.md`."""
    content = {**record, "rows": [row.as_dict() for row in rows]}
    write_text(folder / "benchmark.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    write_text(folder / "benchmark.md", markdown(rows, machine))


def cells(row: Row) -> tuple[str, ...]:
    """Return the texts of one row, in the order of `HEADINGS`."""
    ratio = "" if row.ratio is None else f"{row.ratio.median:.3g} ({row.ratio.low:.3g}–{row.ratio.high:.3g})"
    memory = "" if row.memory is None else " / ".join(number(value) for value in row.memory)
    missing = "failed" if row.failed is not None else "skipped" if row.skipped is not None else ""
    ours = missing if row.ours is None else _figure(row.ours, row.unit)
    return row.what, ours, row.against, _figure(row.baseline, row.unit), ratio, _goal(row), memory


def legend(rows: Sequence[Row]) -> list[str]:
    """Return a line for each baseline that is used."""
    used = dict.fromkeys(row.against for row in rows)
    return [f"{name}: {LEGEND[name]}" for name in used if name in LEGEND]


def notes(rows: Sequence[Row]) -> list[str]:
    """Return a line for each row that has notes, was skipped or failed."""
    lines = []
    for row in rows:
        reasons = {"skipped": row.skipped, "failed": row.failed}
        said = [*row.notes, *(f"{how}: {why}" for how, why in reasons.items() if why is not None)]
        if said:
            lines.append(f"{row.suite}: {row.what}: {'; '.join(said)}")
    return lines


def _figure(spread: Spread | None, unit: str) -> str:
    return "" if spread is None else f"{number(spread.median)} {unit} ({number(spread.low)}–{number(spread.high)})"


def _goal(row: Row) -> str:
    if row.goal is None:
        return ""
    if row.goal.needs:
        return f"n/a (needs {row.goal.needs})"
    what, unit, shown = {
        "ratio": ("ratio ", "", ""),
        "ours": ("", f" {row.unit}", ""),
        "difference": ("", f" {row.unit} more", "+,.1f"),
        "fraction": ("fraction of the peak ", "", ".3f"),
    }[row.goal.of]
    text = f"{what}{'≥' if row.goal.bound == 'least' else '≤'} {number(row.goal.value)}{unit}"
    if row.judged is None:
        return text
    reached = f" ({row.judged:{shown}})" if shown else ""
    return f"{text}{reached}: {'met' if row.met else 'missed'}"
