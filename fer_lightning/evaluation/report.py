"""From a run folder to one HTML file that can be mailed, printed and opened anywhere: no script, nothing to load."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fer_lightning.core.errors import DataError
from fer_lightning.evaluation.report_page import ScoredRun, render

PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


def write_report(folder: Path | str) -> Path:
    """Write `report.html` into a run folder, from whatever is there, and return its path.

    Reads `metrics.json` (the keys of `compute_metrics`, those that `name_score` reads, and `checkpoint`, `epoch`,
    `interrupted`, `data`: one line about the images; others are listed as they are), `classification_report.csv`,
    `history.csv`, `environment.json`, `.hydra/config.yaml` and every `*.png`. What is missing or damaged is left out
    and named at the end of the page.

    Raises:
        DataError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"report: no run folder {folder}; give the folder that holds metrics.json")
    run = read_run(folder)
    target, partial = folder / "report.html", folder / ".report.html.partial"
    partial.write_text(render(run, name_score(run.metrics)), encoding="utf-8")
    os.replace(partial, target)  # a reader never meets half a page
    return target


def name_score(metrics: Mapping[str, Any]) -> tuple[str, str]:
    """What a score may be called, and why: (`Validation score`, one sentence).

    It is a test score only where the scored images had no part in training or in choosing the weights.

    Args:
        metrics: with `split` (which images were scored), `selected_on` (which split chose the checkpoint; None: nothing
            was chosen), `same_data` (whether the weights were trained on another split of this very data) and `partial`
            (whether images of the split were left out).
    """
    split = metrics.get("split")
    if not split:
        return "Score", "The run does not say which images were scored, so this proves nothing about new faces."
    if metrics.get("partial"):
        return "Partial score", f"Only a part of the {split} images was scored: good for a trial, not for a comparison."
    if not metrics.get("same_data", True):
        reason = "The network was trained on other files; whether some of these images were among them is not known"
        return f"Score on {_these(split)}", f"{reason}."
    if split == "train":
        return "Training score", "The network was trained on these very images: this says nothing about new faces."
    if split == "all":
        return "Score on all images", "Training images are among them: this says little about new faces."
    if "selected_on" not in metrics:
        reason = "The run does not say which images chose the checkpoint, so this may be an optimistic score."
        return f"Score on {_these(split)}", reason
    chosen, kind = metrics["selected_on"], f"{split.capitalize()} score"
    if chosen is None:
        return (
            kind,
            f"These are the weights that training ended with; no checkpoint was chosen, on {split} or elsewhere.",
        )
    if chosen == split:
        reason = f"The checkpoint was chosen on these same {split} images, so the score leans to the optimistic side"
        return "Validation score", f"{reason}: it is not a test score."
    return kind, f"The checkpoint was chosen on the {chosen} images; the {split} images had no part in it."


def _these(split: str) -> str:
    return "all images" if split == "all" else f"{split} images"


def read_run(folder: Path) -> ScoredRun:
    """Everything in a run folder that a report shows; what is missing or damaged becomes a note."""
    notes: list[str] = []

    def read(name: str, reader: Callable[[Path], Any]) -> Any:
        if not (folder / name).is_file():
            notes.append(f"{name} is missing")
            return None
        try:
            return reader(folder / name)
        except (OSError, ValueError) as error:  # UnicodeDecodeError, JSONDecodeError and pandas' errors are ValueErrors
            notes.append(f"{name} cannot be read ({error})")
            return None

    metrics, environment = read("metrics.json", _read_object), read("environment.json", _read_object)
    pictures = ((path.stem, read(path.name, _read_png)) for path in sorted(folder.glob("*.png")))
    return ScoredRun(
        name=folder.resolve().name,
        metrics={} if metrics is None else metrics,
        environment={} if environment is None else environment,
        per_class=read("classification_report.csv", pd.read_csv),
        history=read("history.csv", pd.read_csv),
        config=read(".hydra/config.yaml", lambda path: path.read_text(encoding="utf-8")),
        figures=[(stem, data) for stem, data in pictures if data is not None],
        notes=notes,
    )


def _read_object(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    return content


def _read_png(path: Path) -> bytes:
    data = path.read_bytes()
    if not (data.startswith(PNG_START) and data.endswith(PNG_END)):
        raise ValueError("it is no complete PNG")
    return data
