"""How scores are written, in the terminal and on the page alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fer_lightning.comparison.comparison import COLUMNS, Comparison
from fer_lightning.comparison.paired_test import Difference
from fer_lightning.comparison.ranking import Group
from fer_lightning.comparison.seeds import Repeats
from fer_lightning.runs.objectives import LATENCY, PARAMETERS
from fer_lightning.runs.read import RecordedRun
from fer_lightning.runs.settings import SEEDS, identity, told

NONE = "–"
MINUS = "−"
JOB = re.compile(r"(^|/)(\d+)_[^/]*=[^/]*$")


def score(monitor: str | None, value: float | None) -> str:
    """A monitored value: a loss as it is, a share in percent."""
    if value is None:
        return NONE
    return f"{value:.4f}" if is_loss(monitor) else f"{100 * value:.1f} %"


def objective(name: str, value: float | None) -> str:
    """What a sweep was to optimise: a score, or a latency."""
    return f"{value:.3g} ms" if name == LATENCY and value is not None else score(name, value)


def further(group: Group) -> list[str]:
    """Objectives beside the monitored value; that of parameters has a column of its own anyway."""
    return [name for name in group.objectives if name != PARAMETERS]


def is_loss(monitor: str | None) -> bool:
    return str(monitor).endswith("loss")


def percent(share: float | None, ends: Sequence[float] | None = None) -> str:
    """A share with its interval: `61.2 % (59.6–62.8)`."""
    if share is None:
        return NONE
    return f"{100 * share:.1f} %" + (f" ({100 * ends[0]:.1f}–{100 * ends[1]:.1f})" if ends else "")


def difference(found: Difference | None) -> str:
    """Percentage points with their interval: `−1.2 (−2.0 to −0.4)`."""
    if found is None:
        return NONE
    return f"{signed(found.value)} ({signed(found.low)} to {signed(found.high)})"


def signed(share: float) -> str:
    """Percentage points with their sign."""
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)


def p_value(found: Difference | None) -> str:
    if found is None:
        return NONE
    return "<0.001" if found.p < 0.001 else f"{found.p:.3f}"


def count(number: int | float | None) -> str:
    """Parameters and the like: `1.17 M`."""
    if number is None:
        return NONE
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def duration(seconds: float | None) -> str:
    """`45 s`, `8 min`, `2.5 h`."""
    if seconds is None:
        return NONE
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def epochs(run: RecordedRun) -> str:
    """The best one of how many: `11/12`."""
    best, last = run.metrics.get("epoch"), run.epochs
    return "/".join(str(number) for number in (best, last) if number is not None) or NONE


def outcome(run: RecordedRun) -> str:
    """How a run ended, and why: `failed: out of memory`."""
    status = run.status
    if status.status == "finished":
        return f"{run.monitor} is no number" if run.monitor is not None and not run.ranked else "no score"
    return status.status if status.reason is None else f"{status.status}: {status.reason}"


def called(run: RecordedRun, columns: Mapping[str, str]) -> str:
    """A job's name where its settings stand beside: `12` for `12_model=vgg16,seed=2`."""
    return JOB.sub(r"\1\2", run.name) if columns and run.settings.values else run.name


def heading(group: Group, columns: Mapping[str, str]) -> list[str]:
    """What stands above the columns of a group's rows, those of these settings among them."""
    split = f" ({group.split})" if group.split else ""
    head = ["", "run", str(group.best.monitor), *further(group), f"accuracy{split}", "to the best", "p"]
    return [*head, *columns.values(), "macro-F1", "epochs", "parameters", "time"]


def rows(group: Group, columns: Mapping[str, str]) -> list[list[str]]:
    """One row a run, as `heading` says."""
    found = []
    for place, (run, gap) in enumerate(zip(group.runs, group.differences, strict=True), 1):
        mark = "" if run.status.status == "finished" else f" ({run.status.status})"
        f1, interval = run.metrics.get("f1_macro"), run.metrics.get("accuracy_interval")
        cells = [str(place), called(run, columns) + mark, score(run.monitor, run.value)]
        cells += [objective(name, run.objectives.get(name)) for name in further(group)]
        cells += [percent(run.metrics.get("accuracy"), interval)]
        cells += ["best" if place == 1 else difference(gap), p_value(gap)]
        cells += told(run.settings, list(columns))
        cells += [NONE if f1 is None else f"{f1:.3f}", epochs(run)]
        found.append([*cells, count(run.metrics.get("parameters")), duration(run.status.seconds)])
    return found


def seed_heading(comparison: Comparison) -> list[str]:
    """What stands above the columns of `seed_rows`."""
    others = [comparison.keys[key] for key in _apart_from_seeds(comparison)]
    return [*(others or ["settings"]), "chosen by", "runs", "mean", "deviation", "95 % interval of the mean", "range"]


def seed_rows(comparison: Comparison) -> list[list[str]]:
    """One row for runs that differ in their seed only."""
    known = [key for key in comparison.keys if key not in SEEDS]
    shown = [known.index(key) for key in _apart_from_seeds(comparison)]
    return [_seed_row(item, shown) for item in comparison.repeats]


def _apart_from_seeds(comparison: Comparison) -> list[str]:
    """Settings that tell the rows apart, which may be of several groups."""
    ranked = [run.settings for group in comparison.groups for run in group.runs]
    vary = (key for key in comparison.keys if len({identity(settings, [key]) for settings in ranked}) > 1)
    return [key for key in vary if key not in SEEDS][:COLUMNS]


def _seed_row(item: Repeats, shown: Sequence[int]) -> list[str]:
    monitor, values = item.runs[0].monitor, [float(run.value) for run in item.runs if run.value is not None]
    told_of = [item.told[at] for at in shown] or ["all the same"]
    runs = f"{len(item.runs)}" + (f" on {item.images} sets of images" if item.images > 1 else "")
    deviation, interval = score(monitor, item.deviation), NONE
    if item.interval is not None:
        low, high = max(0.0, item.interval[0]), item.interval[1] if is_loss(monitor) else min(1.0, item.interval[1])
        interval = f"{score(monitor, low)} to {score(monitor, high)}"
    extent = f"{score(monitor, min(values))} to {score(monitor, max(values))}" if len(values) > 1 else NONE
    return [*told_of, str(monitor), runs, score(monitor, item.mean), deviation, interval, extent]
