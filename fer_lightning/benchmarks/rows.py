"""One line of the benchmark's table: our figure, the baseline's, their ratio, and whether that reaches the goal."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Spread:
    """Median and range of several measurements."""

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
    """What the project promises of a row: that a figure is at `least` or at `most` a value.

    The figure is the `ratio` of ours to the baseline, `ours`, its `difference` to the baseline in the unit of the row,
    or the `fraction` of the hardware's peak.
    """

    of: Literal["ratio", "ours", "difference", "fraction"]
    bound: Literal["least", "most"]
    value: float
    needs: str = ""  # what is missing here for the goal to apply


@dataclass(frozen=True)
class Row:
    """One comparison with a baseline, or why it was not measured; None where there is no figure."""

    suite: str
    what: str
    against: str = ""  # name of the baseline
    unit: str = "images/s"  # of `ours` and `baseline`; or s, TFLOP/s, MB
    ours: Spread | None = None  # over the windows
    baseline: Spread | None = None
    ratio: Spread | None = None  # ours / baseline, of windows that followed each other
    goal: Goal | None = None
    fraction: float | None = None  # of the hardware's listed peak, 0…1
    memory: tuple[float, float] | None = None  # largest resident set of both sides and of their loaders, MB
    device_memory: tuple[float, float] | None = None  # largest allocation of both sides on the GPU, MB
    notes: tuple[str, ...] = ()
    skipped: str | None = None  # why it could not be measured here
    failed: str | None = None  # the error

    def filled(self, ours: list[float], baseline: list[float], **facts: Any) -> Row:
        """Return the row with its figures; those at one place in both lists were measured one after the other."""
        ratio = Spread.of(mine / theirs for mine, theirs in zip(ours, baseline, strict=True))
        return replace(self, ours=Spread.of(ours), baseline=Spread.of(baseline), ratio=ratio, **facts)

    @property
    def judged(self) -> float | None:
        """The figure that the goal is about; None without a figure, or without a goal that applies here."""
        if self.goal is None or self.goal.needs or self.ours is None or self.baseline is None or self.ratio is None:
            return None
        return {
            "ratio": self.ratio.median,
            "ours": self.ours.median,
            "difference": self.ours.median - self.baseline.median,
            "fraction": self.fraction,
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


def in_turn(turns: int, work: Callable[[int, int], Result]) -> tuple[list[Result], list[Result]]:
    """Call `work` with turn and side in the order of a fair comparison, A B, B A, A B, …; return each side's results.

    >>> in_turn(3, lambda turn, side: print("AB"[side], end=" "))
    A B B A A B ([None, None, None], [None, None, None])
    """
    results: tuple[list[Result], list[Result]] = ([], [])
    for turn in range(turns):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            results[side].append(work(turn, side))
    return results


def unmet(*conditions: tuple[bool, str]) -> str:
    """Return the conditions that do not hold, as text.

    >>> unmet((True, "a GPU"), (False, "2 cores"), (False, "10,000 images"))
    '2 cores, 10,000 images'
    """
    return ", ".join(text for holds, text in conditions if not holds)


def number(value: float) -> str:
    """Format a figure with three significant digits.

    >>> number(28695.2), number(3.14159), number(0.04567)
    ('28,695', '3.14', '0.0457')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
