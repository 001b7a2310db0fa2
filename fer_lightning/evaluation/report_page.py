"""The HTML of a report. Everything that comes from a run is escaped, and the page forbids scripts besides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from fer_lightning.evaluation.html import document, facts, figure_of, is_number, table_of, text_of

TILES = (  # key, title, unit (# counts), meaning
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
    ("confusion", "Confusion matrix", "Rows are the true classes; the diagonal on the right is the recall."),
    ("prediction", "Predictions beside truth", MARKED),
    ("mistake", "Most confident mistakes", "Wrong, and sure of it: odd faces, doubtful labels or a blind spot."),
    ("gallery", "Predictions beside truth", MARKED),
    ("batch", "What the network sees", "A training batch after augmentation, with its labels."),
)
HEADINGS = {"f1": "F1", "roc_auc": "ROC-AUC", "support": "images"}
SHOWN = {"accuracy", "accuracy_interval", "f1_macro_interval", "per_class", "interrupted", "data"}


@dataclass(frozen=True)
class ScoredRun:
    """What a report shows of a run; `figures` are (stem, PNG bytes), `notes` name what is missing or damaged."""

    name: str
    metrics: Mapping[str, Any]
    environment: Mapping[str, Any]
    per_class: pd.DataFrame | None
    history: pd.DataFrame | None
    config: str | None
    figures: list[tuple[str, bytes]]
    notes: list[str]


def render(run: ScoredRun, verdict: tuple[str, str]) -> str:
    """The whole page; `verdict` is what the score may be called and a sentence that says why."""
    known = SHOWN | {key for key, *_ in TILES}
    rest = {key: value for key, value in run.metrics.items() if key not in known}
    sections = (
        _interruption(run.metrics),
        _headline(run.metrics, verdict),
        _per_class(run),
        _figures(run.figures),
        facts("About this score", rest),
        facts("Environment", dict(_flatten(run.environment))),
        _details(run),
    )
    footer = "Figures are drawn from predictions.csv."
    return document(f"{run.name}: report", "Facial expressions: report of a run", run.name, sections, footer)


def _interruption(metrics: Mapping[str, Any]) -> str:
    if metrics.get("interrupted") in (None, False):
        return ""
    epoch = metrics.get("epoch")
    kept = "" if epoch is None else f" The weights are those of epoch {text_of(epoch)}."
    return (
        '<p class="banner"><strong>Interrupted run.</strong> Training stopped before its planned end; this page shows '
        f"what there was by then.{kept} A finished run may score differently.</p>"
    )


def _headline(metrics: Mapping[str, Any], verdict: tuple[str, str]) -> str:
    about = f'<p class="quiet">{escape(str(metrics["data"]))}</p>' if metrics.get("data") else ""
    accuracy = metrics.get("accuracy")
    if not is_number(accuracy):
        return f'<section class="card"><p class="kind">No score</p><p>This run was not scored.</p>{about}</section>'
    interval = _interval(metrics, "accuracy")
    low, high = (accuracy, accuracy) if interval is None else interval
    words = [] if interval is None else [f"95 % interval {100 * low:.1f} to {100 * high:.1f} %"]
    if is_number(metrics.get("count")):
        words.append(f"{metrics['count']:,} {metrics.get('split', '')} images".replace("  ", " "))
    share, name = _largest_class(metrics)
    mark = f'<i class="base" style="left:{100 * share:.2f}%"></i>' if name else ""
    floor = f"The mark: always answering “{escape(name)}” would score {100 * share:.1f} %." if name else ""
    return f"""<section class="card hero">
<p class="kind">{escape(verdict[0])}</p>
<div class="score">{100 * accuracy:.1f} % <small>accuracy</small></div>
<p class="quiet">{escape("; ".join(words))}</p>
<p>{escape(verdict[1])}</p>
<div class="scale"><i class="upto" style="width:{100 * accuracy:.2f}%"></i><i class="interval"
 style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"></i>{mark}</div>
<div class="ends"><span>0 %</span><span>100 %</span></div>
<p class="quiet">{floor}</p>
{about}</section>
<section class="tiles">
{"".join(_tiles(metrics))}</section>"""


def _tiles(metrics: Mapping[str, Any]) -> Iterator[str]:
    for key, title, unit, meaning in TILES:
        value, interval = metrics.get(key), _interval(metrics, key)
        if not is_number(value):
            continue
        shown = {"%": f"{100 * value:.1f} %", "#": f"{value:,}"}.get(unit, f"{value:.3f}")
        below = meaning if interval is None else f"95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"
        yield f'<div class="tile"><span>{title}</span><b>{shown}</b><span>{below}</span></div>\n'


def _interval(metrics: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    ends = metrics.get(f"{key}_interval")
    if isinstance(ends, list) and len(ends) == 2 and all(map(is_number, ends)):
        return ends[0], ends[1]
    return None


def _largest_class(metrics: Mapping[str, Any]) -> tuple[float, str]:
    """Share and name of the commonest class: the score of an answer that never looks."""
    per_class = metrics.get("per_class")
    if not isinstance(per_class, dict):
        return 0.0, ""
    sizes = {name: scores.get("support", 0) for name, scores in per_class.items()}
    total = sum(sizes.values())
    name = max(sizes, key=sizes.__getitem__, default="")
    return (sizes[name] / total, name) if total else (0.0, "")


def _figures(figures: Iterable[tuple[str, bytes]]) -> str:
    found = []
    for stem, data in figures:
        rank = next((rank, *words) for rank, (part, *words) in enumerate([*FIGURES, ("", "", "")]) if part in stem)
        title = rank[1] if rank[1] else stem.replace("_", " ").capitalize()
        found.append((rank[0], stem, figure_of(data, title, rank[2])))
    return "<h2>Figures</h2>\n" + "\n".join(html for *_, html in sorted(found)) if found else ""


def _per_class(run: ScoredRun) -> str:
    report = run.per_class
    if report is None and isinstance(run.metrics.get("per_class"), dict):
        report = pd.DataFrame.from_dict(run.metrics["per_class"], orient="index").rename_axis("class").reset_index()
    if report is None or report.empty:
        return ""
    lines = []
    for name, *values in report.itertuples(index=False):
        cells = (_score_cell(str(column), value) for column, value in zip(report.columns[1:], values, strict=True))
        total = ' class="total"' if str(name).endswith(" average") else ""
        lines.append(f'<tr{total}><th scope="row">{escape(str(name))}</th>{"".join(cells)}</tr>')
    return f"<h2>Each class</h2>\n{table_of((HEADINGS.get(str(column), column) for column in report.columns), lines)}"


def _score_cell(column: str, value: Any) -> str:
    if not is_number(value):
        return "<td>–</td>"
    bar = f'<span class="bar"><i style="width:{100 * value:.1f}%"></i></span>' if column == "f1" else ""
    return f"<td>{bar}{f'{value:,.0f}' if column in ('support', 'predicted') else f'{value:.3f}'}</td>"


def _details(run: ScoredRun) -> str:
    parts = []
    if run.history is not None and not run.history.empty:
        rows = run.history.itertuples(index=False)
        lines = [f"<tr>{''.join(f'<td>{text_of(value)}</td>' for value in row)}</tr>" for row in rows]
        table = table_of(run.history.columns, lines)
        parts.append(f"<details><summary>Every epoch ({len(lines)})</summary>{table}</details>")
    if run.config:
        parts.append(f'<details><summary>Configuration</summary><pre class="card">{escape(run.config)}</pre></details>')
    if run.notes:
        parts.append(f'<p class="quiet">Not on this page: {escape("; ".join(run.notes))}.</p>')
    return "<h2>Details</h2>\n" + "\n".join(parts) if parts else ""


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
