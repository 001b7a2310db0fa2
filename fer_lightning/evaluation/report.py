"""The report of one run: what its page shows, worked out from the run's metrics, history, settings and figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fer_lightning.core.counts import count_images
from fer_lightning.core.flatten import flatten
from fer_lightning.evaluation.html import is_number, percent, render_page, text_of
from fer_lightning.evaluation.score_name import name_score

TILES = (  # key, title, unit (# counts), meaning
    ("accuracy_without_duplicates", "accuracy without duplicates", "%", "of the images that the network has not seen"),
    ("f1_macro", "macro-F1", "%", "mean over the classes"),
    ("balanced_accuracy", "balanced accuracy", "%", "mean recall of the classes"),
    ("precision_macro", "macro-precision", "%", "mean over the classes"),
    ("top2_accuracy", "top-2 accuracy", "%", "right with two guesses"),
    ("roc_auc_macro", "ROC-AUC", "", "one class against the rest; guessing has 0.5"),
    ("ece", "calibration error", "%", "mean gap between confidence and accuracy"),
    ("loss", "loss", "", "mean negative log-likelihood in nats"),
    ("count", "images", "#", "scored, each once"),
)
MARKED = "✓ right, ✗ wrong (thick dashed frame), with the probability of the prediction."
FIGURES = (  # part of the file name, title, what to look for; in this order on the page, the first that fits counts
    ("curve", "Training curves", "Where the two curves part, over-fitting begins."),
    ("lr_range", "Learning-rate range test", "The rate grows from step to step; the lowest loss gave optimizer.lr."),
    ("confusion", "Confusion matrix", "Rows are the true classes; the diagonal on the right is the recall."),
    ("prediction", "Predictions and true classes", MARKED),
    ("mistake", "Most confident mistakes", "Wrong, and sure of it: odd faces, doubtful labels or a blind spot."),
    ("gallery", "Predictions and true classes", MARKED),
    ("heat_maps", "Where the network looks", "Orange where it looks, on the mean of the faces."),
    ("batch", "What the network sees", "A training batch after augmentation, with its labels."),
)
OCCLUSION = "Occlusion: how much the probability of the class falls when a place is hidden (Zeiler & Fergus, 2014)."
GRADCAM = "Grad-CAM: how much each cell of the network's last map adds to the class (Selvaraju et al., 2017)."
HEADINGS = {"f1": "F1", "roc_auc": "ROC-AUC", "support": "images"}
# shown in places of their own; all other metrics are listed under "About this score"
SHOWN = {f"{key}_interval" for key in ("accuracy", "f1_macro", "accuracy_without_duplicates")}
SHOWN |= {"accuracy", "per_class", "interrupted", "data"} | {key for key, *_ in TILES}


@dataclass(frozen=True)
class ScoredRun:
    """What a report shows of a run.

    The metrics are those of `metrics.json`: the keys of `compute_metrics`, those that `name_score` reads, and `epoch`,
    `interrupted` and `data` (one line about the images); others are listed as they are.
    """

    name: str
    metrics: Mapping[str, Any]
    environment: Mapping[str, Any]
    per_class: pd.DataFrame | None  # `classification_report` with a column `class`; None: made from the metrics
    history: pd.DataFrame | None  # one row per epoch
    config: str | None  # the settings as YAML
    figures: Sequence[tuple[str, bytes]]  # stem of the file, PNG
    notes: Sequence[str]  # which parts are missing or damaged
    heat_maps: Mapping[str, Any] | None = None  # `heat_maps.json`


def render_report(run: ScoredRun) -> str:
    """Return the page of a run as HTML."""
    metrics = run.metrics
    score_name, score_reason = name_score(metrics)
    accuracy = metrics["accuracy"] if is_number(metrics.get("accuracy")) else None
    history = pd.DataFrame() if run.history is None else run.history
    return render_page(
        "report.html.j2",
        run.name,
        interrupted=metrics.get("interrupted") not in (None, False),
        epoch=metrics.get("epoch"),
        accuracy=accuracy,
        interval=_interval(metrics, "accuracy") or (accuracy, accuracy),
        score_name=score_name,
        score_reason=score_reason,
        scored=_scored(metrics),
        baseline=_largest_class(metrics),
        data=metrics.get("data"),
        tiles=[] if accuracy is None else [*_tiles(metrics)],
        per_class=_per_class(run),
        looks=_looks(run.heat_maps, metrics.get("epoch")),
        figures=_figures(run.figures),
        about={key: value for key, value in metrics.items() if key not in SHOWN},
        environment=flatten(run.environment),
        history={"headings": [*history.columns], "rows": [*history.itertuples(index=False, name=None)]},
        config=run.config,
        notes=run.notes,
    )


def _scored(metrics: Mapping[str, Any]) -> str:
    interval = _interval(metrics, "accuracy")
    parts = [] if interval is None else [_interval_text(interval)]
    if is_number(metrics.get("count")):
        parts.append(count_images(metrics["count"], metrics.get("split")))
    return "; ".join(parts)


def _tiles(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for key, title, unit, meaning in TILES:
        value, interval = metrics.get(key), _interval(metrics, key)
        if is_number(value):
            shown = percent(value) if unit == "%" else f"{value:,}" if unit == "#" else f"{value:.3f}"
            yield title, shown, meaning if interval is None else _interval_text(interval)


def _interval(metrics: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    ends = metrics.get(f"{key}_interval")
    return tuple(ends) if isinstance(ends, list) and len(ends) == 2 and all(map(is_number, ends)) else None


def _interval_text(interval: tuple[float, float]) -> str:
    return f"95 % interval {percent(interval[0], unit='')} to {percent(interval[1])}"


def _largest_class(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the largest class and the accuracy of always answering it."""
    per_class = metrics.get("per_class")
    sizes = {name: row.get("support", 0) for name, row in per_class.items()} if isinstance(per_class, dict) else {}
    if not sum(sizes.values()):
        return None
    name = max(sizes, key=sizes.__getitem__)
    return {"name": name, "accuracy": sizes[name] / sum(sizes.values())}


def _per_class(run: ScoredRun) -> dict[str, Any]:
    """Return headings, and rows of (class, cells); a cell is (text, length of its bar in [0, 1] or None)."""
    table = run.per_class
    if table is None and isinstance(run.metrics.get("per_class"), dict):
        table = pd.DataFrame.from_dict(run.metrics["per_class"], orient="index").rename_axis("class").reset_index()
    if table is None:
        return {"headings": [], "rows": []}
    columns = [str(column) for column in table.columns]
    rows = [
        (str(name), [_cell(column, value) for column, value in zip(columns[1:], values, strict=True)])
        for name, *values in table.itertuples(index=False, name=None)
    ]
    return {"headings": [HEADINGS.get(column, column) for column in columns], "rows": rows}


def _cell(column: str, value: object) -> tuple[str, float | None]:
    if not is_number(value):
        return text_of(None), None
    text = f"{value:,.0f}" if column in ("support", "predicted") else f"{value:.3f}"
    return text, value if column == "f1" else None


def _looks(heat_maps: Mapping[str, Any] | None, scored: object) -> dict[str, Any]:
    """Return how much of the mean heat map of each class lies on each part of a face, as a table, and what it is of."""
    record = heat_maps or {}
    parts, classes = record.get("areas") or {}, record.get("classes") or {}
    rows = [
        (name, f"{row.get('images') or 0:,}", *(_share(row.get(part)) for part in parts))
        for name, row in classes.items()
    ]
    split, epoch = record.get("split") or "", record.get("epoch")
    weights = "" if epoch is None else f" with the weights of epoch {epoch:.0f}"
    if weights and is_number(scored) and scored != epoch:  # such as when the run was continued afterwards
        weights += f" (the scores are of epoch {scored:.0f}: explain the run again for that)"
    return {
        "method": {"occlusion": OCCLUSION, "gradcam": GRADCAM}.get(str(record.get("method")), ""),
        "headings": ["", "images", *parts],
        "rows": [("area of the part", "", *map(_share, parts.values())), *rows] if rows else [],
        "images": f"{split} images that the network predicted right",
        "epoch": weights,
    }


def _share(value: object) -> str:
    return percent(value, 0) if is_number(value) else text_of(None)


def _figures(figures: Iterable[tuple[str, bytes]]) -> list[tuple[bytes, str, str]]:
    """Return (PNG, title, caption), in the order of `FIGURES`; other figures last, by name."""
    found = []
    for stem, png in figures:
        other = (len(FIGURES), stem.replace("_", " ").capitalize(), "")
        known = ((place, title, text) for place, (part, title, text) in enumerate(FIGURES) if part in stem)
        place, title, caption = next(known, other)
        found.append((place, stem, png, title, caption))
    return [(png, title, caption) for _, _, png, title, caption in sorted(found)]
