"""Numbers and names as text, in the terminal, on the page and in figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fer_lightning.comparison.paired_test import Difference
from fer_lightning.runs.objectives import LATENCY
from fer_lightning.runs.read import RecordedRun

NONE = "–"


def score(monitor: str | None, value: float | None) -> str:
    """Return a monitored value as text: a loss as it is, a fraction in percent."""
    if value is None:
        return NONE
    return f"{value:.4f}" if is_loss(monitor) else f"{100 * value:.1f} %"


def objective(name: str, value: float | None) -> str:
    """Return an objective as text: a score, or a latency."""
    return f"{value:.3g} ms" if name == LATENCY and value is not None else score(name, value)


def is_loss(monitor: str | None) -> bool:
    return str(monitor).endswith("loss")


def percent(fraction: float | None, ends: Sequence[float] | None = None) -> str:
    """Return a fraction with its interval: `61.2 % (59.6–62.8)`."""
    if fraction is None:
        return NONE
    return f"{100 * fraction:.1f} %" + (f" ({100 * ends[0]:.1f}–{100 * ends[1]:.1f})" if ends else "")


def difference(found: Difference | None) -> str:
    """Return percentage points with their interval: `−1.2 (−2.0 to −0.4)`."""
    return NONE if found is None else f"{signed(found.value)} ({signed(found.low)} to {signed(found.high)})"


def signed(fraction: float) -> str:
    """Return percentage points with their sign."""
    text = f"{100 * fraction:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def p_value(found: Difference | None) -> str:
    if found is None:
        return NONE
    return "<0.001" if found.p < 0.001 else f"{found.p:.3f}"


def count(number: int | float | None) -> str:
    """Return a number of parameters and the like: `1.17 M`."""
    if number is None:
        return NONE
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def duration(seconds: float | None) -> str:
    """Return a time: `45 s`, `8 min`, `2.5 h`."""
    if seconds is None:
        return NONE
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def epochs(run: RecordedRun) -> str:
    """Return the best epoch and the last one: `11/12`."""
    best, last = run.metrics.get("epoch"), run.epochs
    return "/".join(str(number) for number in (best, last) if number is not None) or NONE


def outcome(run: RecordedRun) -> str:
    """Return how a run ended, and why: `failed: out of memory`."""
    status = run.status
    if status.status == "finished":
        return f"{run.monitor} is no number" if run.monitor is not None and not run.ranked else "no score"
    return status.status if status.reason is None else f"{status.status}: {status.reason}"


def job_name(run: RecordedRun, columns: Mapping[str, str]) -> str:
    """Return a job's name where columns show its settings: `12` for `12_model=vgg16,seed=2`."""
    return re.sub(r"(^|/)(\d+)_[^/]*=[^/]*$", r"\1\2", run.name) if columns and run.settings.values else run.name


def shorten(names: Sequence[str], count: int) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
