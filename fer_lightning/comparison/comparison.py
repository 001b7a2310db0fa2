"""Compare runs: `Comparison` holds everything that the terminal, the page and the CSV file show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fer_lightning.comparison.formatting import shorten
from fer_lightning.comparison.importance import Importance, weigh_settings
from fer_lightning.comparison.ranking import Group, rank
from fer_lightning.comparison.rerun_command import rerun_command
from fer_lightning.comparison.seeds import SeedGroup, average_seeds
from fer_lightning.runs.find import find_runs
from fer_lightning.runs.objectives import PARAMETERS
from fer_lightning.runs.read import RecordedRun, read_runs
from fer_lightning.runs.settings import differing_keys, format_value, short_names, varying
from fer_lightning.runs.status import FINISHED

COLUMNS = 8  # settings that a table or figure has room for


@dataclass(frozen=True)
class Comparison:
    """The result of comparing runs."""

    groups: tuple[Group, ...]  # of runs that may be ranked together, the largest first
    unranked: tuple[RecordedRun, ...]  # which failed, were pruned, interrupted or still run, or have no score
    keys: dict[str, str]  # settings that differ between runs, with their short names
    seed_groups: tuple[SeedGroup, ...]  # ranked runs that differ in their seed only, best mean first
    importance: Importance | str  # of settings, in the first group, or why there is none
    notes: tuple[str, ...]  # what else a reader should know

    @property
    def runs(self) -> list[RecordedRun]:
        """All of them, ranked ones first."""
        return [*(run for group in self.groups for run in group.runs), *self.unranked]

    @property
    def commands(self) -> list[tuple[Group, str]]:
        """The command that repeats the best run of each group, where it is known."""
        found = ((group, rerun_command(group.best)) for group in self.groups)
        return [(group, command) for group, command in found if command is not None]

    def columns(self, group: Group) -> dict[str, str]:
        """Return the settings that differ within a group, with their short names, as many as there is room for."""
        return {key: self.keys[key] for key in varying(self.keys, [run.settings for run in group.runs])[:COLUMNS]}


def compare(places: Sequence[str | Path]) -> Comparison:
    """Find the runs in or below some folders, and compare them; errors are those of `find_runs`."""
    runs, others = read_runs(find_runs(places))
    groups, unranked = rank(runs)
    typed = {word.lstrip("+~").partition("=")[0] for run in runs for word in run.overrides}
    keys = differing_keys([run.settings for run in runs if run.settings.values], typed)
    importance = weigh_settings(groups[0].runs, keys) if groups else "Importance of settings: no run has a score."
    seed_groups = average_seeds(groups, keys)
    notes = tuple(_notes(runs, others, groups, seed_groups, len(keys)))
    return Comparison(tuple(groups), tuple(unranked), short_names(keys), tuple(seed_groups), importance, notes)


def describe(comparison: Comparison) -> str:
    """Return one line: how many runs, and how they ended."""
    states = [run.status.status for run in comparison.runs]
    counts = {state: states.count(state) for state in dict.fromkeys([FINISHED, *sorted(states)]) if state in states}
    listed = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{len(states)} run{'s' * (len(states) != 1)}: {listed}" if states else "no training run"


def label(run: RecordedRun, columns: Mapping[str, str]) -> str:
    """Return the settings that tell a run from the others, or else its name."""
    values = run.settings.values
    words = [f"{name}={format_value(key, values[key])}" for key, name in columns.items() if key in values]
    return ", ".join(words) or run.name


def tabulate(comparison: Comparison) -> pd.DataFrame:
    """Return one row per run, ranked ones first, with every setting that differs under its full name."""
    rows: list[dict[str, Any]] = []
    for group in comparison.groups:
        front = {run.folder for run in group.pareto_front}
        for place, (run, difference) in enumerate(zip(group.runs, group.differences, strict=True), 1):
            row = {"group": group.letter, "rank": place, **_row(run)}
            if group.objectives:
                row["pareto_front"] = run.folder in front
            if difference is not None:
                row |= {f"difference_{key}": part for key, part in difference._asdict().items()}
            rows.append(row)
    rows += [_row(run) for run in comparison.unranked]
    columns = [*dict.fromkeys(key for row in rows for key in row)]
    for row, run in zip(rows, comparison.runs, strict=True):
        row |= {key: run.settings.values.get(key) for key in comparison.keys}
    return pd.DataFrame(rows, columns=[*columns, *comparison.keys])


def _row(run: RecordedRun) -> dict[str, Any]:
    low, high = run.metrics.get("accuracy_interval") or (None, None)
    facts = {
        "run": run.name,
        "folder": str(run.folder),
        **{key: getattr(run.status, key) for key in ("status", "reason", "message", "seconds")},
        "monitor": run.monitor,
        "monitored": run.value,
        **{key: run.metrics.get(key) for key in ("split", "accuracy", "f1_macro", "parameters")},
        **{key: run.metrics.get(key) for key in ("duplicates_in_train", "accuracy_without_duplicates")},
        "accuracy_low": low,
        "accuracy_high": high,
        "best_epoch": run.metrics.get("epoch"),
        "epochs": run.epochs,
    }
    costs = {name: value for name, value in run.objectives.items() if name != PARAMETERS}
    return {**facts, **costs, "command": rerun_command(run)}


def _notes(
    runs: Sequence[RecordedRun], others: Sequence[Path], groups: Sequence[Group], seeds: Sequence[SeedGroup], keys: int
) -> Iterator[str]:
    """Yield what keeps runs from being compared, which folders hold no training run, and which files runs lack."""
    if len(groups) > 1:
        letters = ", ".join(group.letter for group in groups)
        yield (
            f"These runs are {len(groups)} groups ({letters}) that are not ranked with each other: what chose their"
            " checkpoints, or the images they were scored on, are not the same."
        )
    if any(group.image_sets > 1 for group in seeds):
        yield "Another data.seed drew or split the images of some runs; data.seed=42 would keep those the same for all."
    if keys > COLUMNS:
        yield f"{keys - COLUMNS} more settings differ; compare.csv has them all."
    if others:
        hold = "folders hold" if len(others) > 1 else "folder holds"
        named = shorten([folder.name for folder in others], 5)
        yield f"{len(others)} {hold} scores of evaluate or ensemble, and no training run: {named}."
    yield from (f"{run.name}: {', '.join(run.notes)}." for run in runs if run.notes)
