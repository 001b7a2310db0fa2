"""The tables of a comparison as text; the terminal and the page both show these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fer_lightning.comparison import formatting
from fer_lightning.comparison.comparison import COLUMNS, Comparison
from fer_lightning.comparison.formatting import NONE, percent, score
from fer_lightning.comparison.ranking import Group
from fer_lightning.comparison.rerun_command import belongs_to_sweep
from fer_lightning.comparison.seeds import SeedGroup
from fer_lightning.runs.objectives import PARAMETERS
from fer_lightning.runs.settings import SEEDS, values_as_text, varying


@dataclass(frozen=True)
class Table:
    """Headings, and rows with one cell per heading."""

    headings: list[str]
    rows: list[list[str]]


def ranking_table(comparison: Comparison, group: Group) -> Table:
    """Return one row per run, best first, with the settings that differ in the group."""
    columns = comparison.columns(group)
    objectives = [name for name in group.objectives if name != PARAMETERS]  # parameters have a column anyway
    split = f" ({group.split})" if group.split else ""
    headings = ["", "run", str(group.best.monitor), *objectives, f"accuracy{split}", "to the best", "p"]
    table = Table([*headings, *columns.values(), "macro-F1", "epochs", "parameters", "time"], [])
    for place, (run, gap) in enumerate(zip(group.runs, group.differences, strict=True), 1):
        metrics, f1 = run.metrics, run.metrics.get("f1_macro")
        mark = "" if run.status.status == "finished" else f" ({run.status.status})"
        cells = [
            str(place),
            formatting.job_name(run, columns) + mark,
            score(run.monitor, run.value),
            *(formatting.objective(name, run.objectives.get(name)) for name in objectives),
            percent(metrics.get("accuracy"), metrics.get("accuracy_interval")),
            "best" if place == 1 else formatting.difference(gap),
            formatting.p_value(gap),
            *values_as_text(run.settings, [*columns]),
            NONE if f1 is None else f"{f1:.3f}",
            formatting.epochs(run),
            formatting.count(metrics.get("parameters")),
            formatting.duration(run.status.seconds),
        ]
        table.rows.append(cells)
    return table


def seeds_table(comparison: Comparison) -> Table:
    """Return one row for runs that differ in their seed only; no row where no settings were run with several seeds."""
    ranked = [run.settings for group in comparison.groups for run in group.runs]
    keys = [key for key in varying(comparison.keys, ranked) if key not in SEEDS][:COLUMNS]
    headings = [comparison.keys[key] for key in keys] or ["settings"]
    headings += ["chosen by", "runs", "mean", "deviation", "95 % interval of the mean", "range"]
    groups = comparison.seed_groups if any(len(group.runs) > 1 for group in comparison.seed_groups) else ()
    return Table(headings, [_seed_row(group, keys) for group in groups])


def outcomes_table(comparison: Comparison) -> Table:
    """Return one row for each run that is not ranked, and why."""
    rows = []
    for run in comparison.unranked:
        typed = " ".join(word for word in run.overrides if not belongs_to_sweep(word))
        time, attempts = formatting.duration(run.status.seconds), str(run.status.attempts)
        message = run.status.message or NONE
        rows.append([run.name, formatting.outcome(run), message, formatting.epochs(run), time, attempts, typed])
    return Table(["run", "outcome", "message", "epochs", "time", "attempts", "typed"], rows)


def _seed_row(group: SeedGroup, keys: Sequence[str]) -> list[str]:
    monitor, values = group.runs[0].monitor, group.values
    settings = values_as_text(group.runs[0].settings, keys) or ["all the same"]
    runs = f"{len(group.runs)}" + (f" on {group.image_sets} sets of images" if group.image_sets > 1 else "")
    interval = NONE
    if group.interval is not None:
        low, high = group.interval
        low, high = max(0.0, low), high if formatting.is_loss(monitor) else min(1.0, high)
        interval = f"{score(monitor, low)} to {score(monitor, high)}"
    extent = f"{score(monitor, min(values))} to {score(monitor, max(values))}" if len(values) > 1 else NONE
    mean, deviation = score(monitor, group.mean), score(monitor, group.deviation)
    return [*settings, str(monitor), runs, mean, deviation, interval, extent]
