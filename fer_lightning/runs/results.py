"""The result files of a run folder: predictions, metrics, figures and the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from fer_lightning.core.atomic_write import atomic_write, write_text
from fer_lightning.core.csv_cells import guard_table, unguard_table
from fer_lightning.core.errors import DataError
from fer_lightning.core.file_names import ON_DISK
from fer_lightning.evaluation.canvas import save
from fer_lightning.evaluation.figures import plot_confusion, plot_curves
from fer_lightning.evaluation.galleries import Images, plot_gallery, plot_mistakes
from fer_lightning.evaluation.metrics import classification_report, compute_metrics
from fer_lightning.evaluation.report import ScoredRun, render_report
from fer_lightning.runs import files
from fer_lightning.runs.files import RunFiles
from fer_lightning.runs.schema import read_heat_maps, read_object, read_text
from fer_lightning.runs.tables import read_history, read_predictions


def write_results(table: pd.DataFrame, images: Images | None, folder: Path, **facts: Any) -> dict[str, Any]:
    """Write the predictions, metrics, figures and report of a table, and return what `metrics.json` holds.

    Args:
        table: predictions table of n rows.
        images: uint8 `(n, C, H, W)`, or what indexes like it; None leaves out the galleries of faces.
        folder: of the run; `history.csv` in it becomes curves.
        facts: what the numbers are about, stored with them; `name_score` says which it reads.
    """
    metrics = {**facts, **compute_metrics(table)}
    with atomic_write(folder / files.PREDICTIONS) as new:
        guard_table(table).to_csv(new, index=False, float_format="%.9g", errors=ON_DISK)
    with atomic_write(folder / files.CLASS_REPORT) as new:
        guard_table(classification_report(table)).to_csv(new, errors=ON_DISK)
    write_text(folder / files.METRICS, json.dumps(metrics, indent=2) + "\n")
    save(plot_confusion(table), folder / "confusion_matrix.png")
    if images is not None:
        save(plot_gallery(table, images), folder / "predictions.png")
        save(plot_mistakes(table, images), folder / "mistakes.png")
    if (folder / files.HISTORY).is_file():
        save(plot_curves(read_history(folder / files.HISTORY), best_epoch=facts.get("epoch")), folder / "curves.png")
    write_report(folder)
    return metrics


def read_predictions_of(folder: Path, split: str) -> pd.DataFrame | None:
    """Return the predictions table in a run folder, if one is of this split; a DataError says if it is damaged."""
    path = folder / files.PREDICTIONS
    if not path.is_file():
        return None
    try:
        table = read_predictions(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{files.PREDICTIONS} cannot be read ({' '.join(str(error).split())})") from error
    return table if "split" in table and set(table["split"]) == {split} else None


def _read_class_report(path: Path) -> pd.DataFrame:
    return unguard_table(pd.read_csv(path))


def write_report(folder: Path | str) -> Path:
    """Write `report.html` into a run folder from the files that are there; return its path. DataError: no folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"report: no run folder {folder}; give the folder that holds {files.METRICS}")
    reader = RunFiles(folder)
    pictures = [(path.stem, reader.read(path.name, _read_png, b"")) for path in sorted(folder.glob("*.png"))]
    explained = (folder / files.HEAT_MAPS).is_file()  # most runs are not
    run = ScoredRun(
        folder.resolve().name,
        metrics=reader.read(files.METRICS, read_object, {}),
        environment=reader.read(files.ENVIRONMENT, read_object, {}),
        per_class=reader.read(files.CLASS_REPORT, _read_class_report, None),
        history=reader.read(files.HISTORY, read_history, None),
        config=reader.read(files.SETTINGS, read_text, None),
        heat_maps=reader.read(files.HEAT_MAPS, read_heat_maps, None) if explained else None,
        figures=[picture for picture in pictures if picture[1]],
        notes=reader.notes,
    )
    write_text(folder / files.REPORT, render_report(run))
    return folder / files.REPORT


def _read_png(path: Path) -> bytes:
    data = path.read_bytes()
    if not (data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82")):
        raise ValueError("it is no complete PNG")
    return data
