"""One line of the benchmark's table: our figure, the yardstick's, their ratio, and whether that reaches the goal."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing.

    Attributes:
        median: of them.
        low: the smallest.
        high: the largest.
        count: how many there were.
    """

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Summarise one or more values."""
        found = list(values)
        return cls(statistics.median(found), min(found), max(found), len(found))


@dataclass(frozen=True)
class Goal:
    """What the project promises of a row.

    Attributes:
        of: `ratio` of ours to the yardstick's, `ours` or its `difference` to the yardstick's in the unit of the row, or
            `share` of the hardware's peak.
        bound: whether it must be at `least` or at `most` …
        value: … this.
        needs: what is missing here for the goal to mean anything; empty where nothing is.
    """

    of: Literal["ratio", "ours", "difference", "share"]
    bound: Literal["least", "most"]
    value: float
    needs: str = ""


@dataclass(frozen=True)
class Row:
    """One thing that was measured against a yardstick, or why it was not.

    Attributes:
        suite: that it belongs to.
        what: was measured.
        against: the yardstick.
        unit: of `ours` and `yardstick`: images/s, s, TFLOP/s, MB.
        ours: over the windows; None where nothing was measured.
        yardstick: likewise.
        ratio: ours / yardstick, of windows that followed each other.
        goal: of the project; None where it has none.
        share: of the hardware's listed peak, 0…1, where that was asked.
        memory: largest resident set of ours and of the yardstick, MB; with the private part of loader processes.
        device_memory: largest allocation on the GPU of both, MB; None without one.
        notes: what the reader should know.
        skipped: why it could not be measured here.
        failed: what broke.
    """

    suite: str
    what: str
    against: str = ""
    unit: str = "images/s"
    ours: Spread | None = None
    yardstick: Spread | None = None
    ratio: Spread | None = None
    goal: Goal | None = None
    share: float | None = None
    memory: tuple[float, float] | None = None
    device_memory: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    skipped: str | None = None
    failed: str | None = None

    @property
    def judged(self) -> float | None:
        """The figure that the goal is about; None where there is no figure, or no goal that means anything here."""
        if self.goal is None or self.goal.needs or self.ours is None or self.yardstick is None or self.ratio is None:
            return None
        return {
            "ratio": self.ratio.median,
            "ours": self.ours.median,
            "difference": self.ours.median - self.yardstick.median,
            "share": self.share,
        }[self.goal.of]

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the goal; None where nothing is judged."""
        if self.goal is None or self.judged is None:
            return None
        return self.judged >= self.goal.value if self.goal.bound == "least" else self.judged <= self.goal.value

    def as_dict(self) -> dict[str, Any]:
        """Return the row as JSON can hold it."""
        return {**asdict(self), "judged": self.judged, "met": self.met}


def paired(ours: list[float], yardstick: list[float]) -> Spread:
    """Return the spread of the ratios of windows that were measured beside each other."""
    return Spread.of(mine / theirs for mine, theirs in zip(ours, yardstick, strict=True))


def unmet(*conditions: tuple[bool, str]) -> str:
    """Say which conditions do not hold.

    >>> unmet((True, "a GPU"), (False, "2 cores"), (False, "10,000 images"))
    '2 cores, 10,000 images'
    """
    return ", ".join(text for holds, text in conditions if not holds)


def number(value: float) -> str:
    """Write a figure with three digits that count.

    >>> number(28695.2), number(3.14159), number(0.04567)
    ('28,695', '3.14', '0.0457')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
