"""Parallel coordinates: one line per run through its settings to its score."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import LogLocator, MaxNLocator

from fer_lightning.comparison import formatting
from fer_lightning.comparison.figures import WIDTH, cut
from fer_lightning.comparison.importance import is_numeric
from fer_lightning.evaluation.canvas import BODY, FONT, HEADING, INK, MUTED, SHADES, SMALL, VERMILLION, new_figure
from fer_lightning.runs.read import RecordedRun
from fer_lightning.runs.settings import format_value

LETTERS = 16  # that fit between two axes
TICKS = 6  # at most, for every value to have one


def plot_parallel(runs: Sequence[RecordedRun], names: dict[str, str]) -> Figure:
    """Draw runs as lines across one axis per setting and one for the monitored value.

    Args:
        runs: best first; that one is drawn on top, dashed with markers, so that it is not marked by colour alone.
        names: setting → its short name, in the order of the axes; at least one.
    """
    columns = [_Column(name, key, [run.settings.values.get(key) for run in runs]) for key, name in names.items()]
    scores = np.array([run.value for run in runs], dtype=float)
    columns.append(_Column(str(runs[0].monitor), "", list(scores), falling=runs[0].mode == "min"))
    figure = new_figure(max(WIDTH, 1.5 + 1.45 * len(columns)), 4.9)
    axes = figure.add_axes((0.08, 0.16, 0.82, 0.66))
    _draw_lines(axes, np.column_stack([column.heights for column in columns]), scores, runs[0].mode)
    for place, column in enumerate(columns):
        column.draw(axes, place)
    axes.set(xlim=(-0.1, len(columns) - 1 + 0.1), ylim=(-0.04, 1.04), yticks=[], xticks=[])
    axes.spines[:].set_visible(False)
    figure.text(0.03, 0.93, "Settings against the score", **HEADING)
    what = "one line a run, darker is better; the best one is dashed" if len(runs) > 1 else "the only run"
    figure.text(0.03, 0.875, what, fontsize=SMALL, fontfamily=FONT, color=MUTED)
    return figure


class _Column:
    """One axis: the height of each value between 0 and 1, and the labels beside it."""

    def __init__(self, name: str, key: str, values: Sequence[object], *, falling: bool = False) -> None:
        self.name, self.log = name, False
        if is_numeric(values):
            numbers = np.array(values, dtype=float)
            low, high = numbers.min(), numbers.max()
            self.log = bool(key and low > 0 and high / low >= 10)
            scaled, every = np.log(numbers) if self.log else numbers, np.unique(numbers)
            ticks = every if key and len(every) <= TICKS else self._spread_ticks(low, high)
            span = np.ptp(scaled)
            place = (lambda x: (x - scaled.min()) / span) if span else (lambda x: np.full(np.shape(x), 0.5))
            self.heights = place(scaled)
            write = "{:.3g}".format if key else partial(formatting.score, name)
            self.ticks = [(float(place(np.log(tick) if self.log else tick)), write(tick)) for tick in ticks]
        else:
            texts = [format_value(key, value) for value in values]
            known = sorted(set(texts))
            at = {text: 1 - (number + 0.5) / len(known) for number, text in enumerate(known)}
            self.heights = np.array([at[text] for text in texts])
            self.ticks = [(at[text], text) for text in known]
        if falling:  # the better end is the upper one
            self.heights, self.ticks = 1 - self.heights, [(1 - height, text) for height, text in self.ticks]

    def _spread_ticks(self, low: float, high: float) -> np.ndarray:
        """Return round numbers between the ends, or the ends where there are less than two."""
        locator = LogLocator(numticks=TICKS) if self.log else MaxNLocator(TICKS, steps=[1, 2, 2.5, 5, 10])
        ticks = np.asarray(locator.tick_values(low, high))
        inside = ticks[(ticks >= low) & (ticks <= high)]
        return inside if len(inside) > 1 else np.unique([low, high])

    def draw(self, axes: Axes, place: int) -> None:
        axes.plot([place, place], [0, 1], color=MUTED, lw=1.2, zorder=3, clip_on=False)
        small = FontProperties(family=FONT, size=SMALL)
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
        free = -np.inf
        for height, text in sorted(self.ticks):
            if height < free:
                continue  # it would overlap the label below
            free = height + 0.045  # a line of text
            axes.plot([place - 0.012, place + 0.012], [height, height], color=MUTED, lw=1.2, zorder=4, clip_on=False)
            written = axes.text(place + 0.03, height, cut(text, LETTERS), va="center", color=INK, fontproperties=small)
            written.set(bbox=box, parse_math=False, zorder=6)
        name = _in_lines(f"{self.name} (log)" if self.log else self.name)
        bold = FontProperties(family=FONT, size=BODY, weight="bold")
        axes.text(place, -0.07, name, ha="center", va="top", color=INK, parse_math=False, fontproperties=bold)


def _in_lines(name: str) -> str:
    """Break a name at its points, underscores and blanks so that it does not reach the next axis."""
    lines = [""]
    for piece in re.findall(r"[^._ ]*[._ ]?", name):
        if len(lines[-1] + piece.rstrip()) > LETTERS - 2:  # bold letters are wider
            lines.append("")
        lines[-1] += piece
    return "\n".join(cut(line.strip(), LETTERS - 2) for line in lines if line)


def _draw_lines(axes: Axes, heights: np.ndarray, scores: np.ndarray, mode: str) -> None:
    """Draw `(n, k)` heights, worst first, so that good runs are not buried."""
    spread = np.ptp(scores)
    better = (scores - scores.min() if mode == "max" else scores.max() - scores) / (spread if spread else 1.0)
    alpha = float(np.clip(12 / len(scores), 0.25, 0.9))
    places = np.arange(heights.shape[1])
    for at in range(len(scores) - 1, 0, -1):
        colour = SHADES(0.25 + 0.75 * better[at])  # paler lines would not show on white
        axes.plot(places, heights[at], color=colour, lw=1.5, alpha=alpha, zorder=2)
    axes.plot(places, heights[0], color=VERMILLION, lw=2.4, ls=(0, (5, 2)), marker="o", ms=5, zorder=5, clip_on=False)
