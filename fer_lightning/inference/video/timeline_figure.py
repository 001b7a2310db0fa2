"""Plots the expressions of faces over time: a panel a face, a row a class, darker where it is more probable."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from fer_lightning.core.file_names import on_one_line
from fer_lightning.evaluation.canvas import (
    BODY,
    FAINT,
    FONT,
    HEADING,
    INK,
    SECONDARY,
    SHADES,
    SMALL,
    VERMILLION,
    new_figure,
)
from fer_lightning.inference.video.timeline import Curve, Timeline

MOST_PANELS = 6
MOST_ROWS = 12  # classes of a panel; of more, the most frequent
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)  # seconds between two ticks
ROW, ABOVE, TOP, BOTTOM = 0.21, 0.42, 0.7, 0.8  # inches: a class, the space over a panel, the page's heading and foot
WIDTH, LEFT, RIGHT = 10.0, 1.25, 0.3


def plot_timeline(timeline: Timeline, title: str) -> Figure:
    """Return the figure of a video.

    Args:
        timeline: its frames.
        title: such as the name of its file.
    """
    curves = timeline.curves(MOST_PANELS)
    rows = min(len(timeline.classes), MOST_ROWS)
    height = TOP + max(len(curves), 1) * (ABOVE + rows * ROW) + BOTTOM
    figure = new_figure(WIDTH, height)
    figure.text(LEFT / WIDTH, 1 - 0.3 / height, on_one_line(title), parse_math=False, **HEADING)
    figure.text(LEFT / WIDTH, 1 - 0.55 / height, _summary(timeline, len(curves)), **SECONDARY)
    for number, curve in enumerate(curves):
        bottom = height - TOP - (number + 1) * (ABOVE + rows * ROW)
        axes = figure.add_axes(
            (LEFT / WIDTH, bottom / height, (WIDTH - LEFT - RIGHT) / WIDTH, rows * ROW / height),
            sharex=figure.axes[0] if figure.axes else None,
        )
        _plot_face(axes, curve, timeline, rows)
        axes.tick_params(labelbottom=number == len(curves) - 1)
    if curves:
        key = "darker: more probable · orange bar: the label · grey: not seen"
        figure.text(LEFT / WIDTH, 0.2 / height, key, **SECONDARY)
    else:
        figure.text(0.5, 0.4, "no face was found", ha="center", **SECONDARY)
    return figure


def _summary(timeline: Timeline, shown: int) -> str:
    frames = f"{timeline.frames:,} frame{'s' * (timeline.frames != 1)}"
    if not shown:
        return frames
    faces = f"{timeline.faces:,} face{'s' * (timeline.faces != 1)}"
    return f"{frames}, {faces}" + (f": the {shown} that were seen longest" if timeline.faces > shown else "")


def _plot_face(axes: Axes, curve: Curve, timeline: Timeline, rows: int) -> None:
    shares = np.nanmean(curve.probabilities, axis=0)
    kept = np.sort(np.argsort(-shares, kind="stable")[:rows])
    end = len(curve.probabilities) * timeline.width
    axes.imshow(
        np.ma.masked_invalid(curve.probabilities[:, kept].T),
        cmap=SHADES.with_extremes(bad=FAINT),
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
        extent=(0, end, rows - 0.5, -0.5),
    )
    labels = np.nan_to_num(curve.labels)
    labels = np.column_stack((labels, 1 - labels.sum(axis=1)))  # the rest: uncertain, or not seen
    for row, label in enumerate(kept):
        most = labels.argmax(axis=1) == label
        edges = np.flatnonzero(np.diff(np.concatenate(([False], most, [False]))))
        axes.hlines(
            [row] * (len(edges) // 2),
            edges[::2] * timeline.width,
            edges[1::2] * timeline.width,
            colors=VERMILLION,
            linewidth=2.5,
        )
    axes.set_yticks(range(rows), [timeline.classes[label] for label in kept])
    axes.set_xlim(0, max(timeline.end, timeline.width))
    axes.xaxis.set_major_locator(MultipleLocator(next((step for step in STEPS if end <= 8 * step), end / 8)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)))
    axes.tick_params(length=0, labelsize=SMALL, labelcolor=INK, labelfontfamily=FONT)
    axes.tick_params(axis="x", length=3, color=FAINT)
    axes.spines[:].set_visible(False)
    axes.hlines(np.arange(rows - 1) + 0.5, 0, end, colors="white", linewidth=1)
    name = f"Face {curve.number}, mostly {timeline.classes[int(np.argmax(shares))]}"
    axes.set_title(name, loc="left", fontsize=BODY, fontfamily=FONT, color=INK, pad=4)


def clock(seconds: float) -> str:
    """Return a time as players show it.

    >>> clock(7.5), clock(75), clock(3675)
    ('0:07.5', '1:15', '1:01:15')
    """
    whole, part = divmod(round(seconds * 10), 10)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{start}:{rest:02}" + (f".{part}" if part else "")
