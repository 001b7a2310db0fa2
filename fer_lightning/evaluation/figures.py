"""Curves and confusion matrices as matplotlib figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fer_lightning.core.counts import count_images
from fer_lightning.evaluation.canvas import (
    BLUE,
    BODY,
    FAINT,
    FONT,
    HEADING,
    INK,
    MUTED,
    ORANGE,
    SECONDARY,
    SHADES,
    TITLE,
    new_figure,
)
from fer_lightning.evaluation.metrics import class_names, confusion


def describe(table: pd.DataFrame) -> str:
    """Return what a predictions table holds, for subtitles: `3,589 validation images`."""
    splits = " + ".join(str(split) for split in pd.unique(table["split"]) if str(split))
    return count_images(len(table), splits)


def describe_score(table: pd.DataFrame) -> str:
    """Return the score of a predictions table in words: `1,690 of 3,589 validation images right (47.1 %)`."""
    right = int((table["label"] == table["predicted"]).sum())
    return f"{right:,} of {describe(table)} right ({100 * right / len(table):.1f} %)"


def plot_curves(history: pd.DataFrame, best_epoch: int | None = None) -> Figure:
    """Plot loss and accuracy over epochs, side by side, the best epoch marked in both.

    Args:
        history: columns `epoch` and any of `train/loss`, `val/loss`, `train/acc`, `val/acc` (accuracies in [0, 1]).
            There may be gaps, and several rows per epoch, of which the last value counts.
        best_epoch: the epoch whose weights were kept; by default that of the highest `val/acc`, else of the lowest
            `val/loss`.

    Raises:
        ValueError: there is no column `epoch`.
    """
    if "epoch" not in history.columns:
        raise ValueError(f"history: no column epoch; it has {', '.join(map(str, history.columns))}")
    epochs = history.replace([np.inf, -np.inf], np.nan).dropna(subset="epoch").groupby("epoch").last()
    epochs = epochs.dropna(axis=1, how="all")
    if best_epoch is None and "val/acc" in epochs:
        best_epoch = int(epochs["val/acc"].idxmax())
    elif best_epoch is None and "val/loss" in epochs:
        best_epoch = int(epochs["val/loss"].idxmin())
    figure = new_figure(10, 4.4)
    figure.subplots_adjust(left=0.065, right=0.975, top=0.885, bottom=0.205, wspace=0.19)
    for axes, quantity, title in zip(figure.subplots(1, 2), ("loss", "acc"), ("Loss", "Accuracy"), strict=True):
        style_panel(axes, title)
        _plot_panel(axes, epochs, quantity, best_epoch)
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    shown = {label: line for line in lines if not (label := str(line.get_label())).startswith("_")}
    if shown:  # below the panels, where no curve runs under it
        font = {"family": FONT, "size": BODY}
        figure.legend(list(shown.values()), list(shown), loc="lower center", ncols=3, frameon=False, prop=font)
    return figure


def style_axes(axes: Axes, spine: str, grid: Literal["x", "y"], xlabel: str) -> None:
    """Give axes one spine, such as `bottom`, and a faint grid across, such as `y`."""
    axes.spines[:].set_visible(False)
    axes.spines[spine].set(visible=True, color=MUTED)
    axes.tick_params(length=0, labelsize=BODY, labelcolor=INK, labelfontfamily=FONT)
    axes.grid(axis=grid, color=FAINT, lw=1)
    axes.set_axisbelow(True)
    axes.set_xlabel(xlabel, **SECONDARY)


def style_panel(axes: Axes, title: str) -> None:
    """Give axes over epochs their title, grid and ticks."""
    axes.set_title(title, loc="left", pad=9, **HEADING)
    style_axes(axes, "bottom", "y", "epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def leave_empty(axes: Axes) -> None:
    """Say in a panel that there is nothing to plot."""
    axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", **SECONDARY)
    axes.spines[:].set_visible(False)
    axes.set(xticks=[], yticks=[], xlabel="")


def _plot_panel(axes: Axes, epochs: pd.DataFrame, quantity: str, best_epoch: int | None) -> None:
    columns = (epochs.get(f"{side}/{quantity}", pd.Series()) for side in ("train", "val"))
    train, val = (column.dropna().astype(float) for column in columns)
    for values, label, colour, dashes, marker in (
        (train, "training", ORANGE, (0, (4, 2)), "s"),
        (val, "validation", BLUE, "-", "o"),
    ):
        if len(values):
            size = 4.5 if len(values) <= 40 else 0
            axes.plot(values.index, values, color=colour, ls=dashes, lw=2, marker=marker, ms=size, label=label)
    drawn = pd.concat([train, val])
    if drawn.empty:
        leave_empty(axes)
        return
    if quantity == "acc":
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    _set_limits(axes, drawn, 0.1 if quantity == "acc" else 0.2)
    if best_epoch is not None and best_epoch in val.index:
        axes.axvline(best_epoch, color=MUTED, lw=1, ls=":", zorder=1)
        best = val[best_epoch]
        axes.plot(best_epoch, best, "*", ms=16, color=BLUE, mec="white", mew=1.2, zorder=5, label="best epoch")
        text = f"{100 * best:.1f} %" if quantity == "acc" else f"{best:.3f}"
        # in the title line rather than beside the star, where a curve could run through it
        axes.set_title(f"{text} at epoch {best_epoch}", loc="right", fontsize=BODY, fontfamily=FONT, color=BLUE, pad=9)


def _set_limits(axes: Axes, values: pd.Series, least: float) -> None:
    """Leave room around the values; the axis spans at least `least`, so that noise does not look like a trend."""
    low, high, first, last = values.min(), values.max(), values.index.min(), values.index.max()
    margin = max(0.06 * (high - low), (least - (high - low)) / 2)
    axes.set_ylim(max(0, low - margin), high + margin)
    side = 0.03 * (last - first) if first < last else 0.5
    axes.set_xlim(first - side, last + side)


def plot_confusion(table: pd.DataFrame) -> Figure:
    """Plot the confusion matrix of a predictions table: counts, and percent of the true class (recall on the diagonal).

    Classes without images get a hatched row. A PredictionsError says if the table is not a predictions table.
    """
    classes, counts = class_names(table), confusion(table)
    size, support = len(classes), counts.sum(axis=1)
    fractions = np.divide(counts, support[:, None], out=np.full((size, size), np.nan), where=support[:, None] > 0)
    rows = [f"{name} ({count:,})" for name, count in zip(classes, support, strict=True)]
    heading = f"Confusion matrix: {describe_score(table)}"
    # laid out in inches from measured text, so that long names are not cut off
    side = size * float(np.clip(4 / size, 0.54, 1.1))
    widest = max(text_width(name, BODY) for name in classes)
    turned = widest > side / size - 0.08
    left = 0.75 + max(text_width(row, BODY) for row in rows)
    bottom = 0.55 + (0.65 * widest if turned else 0.12)
    width = max(left + 2 * side + 0.7, text_width(heading, TITLE, "bold") + 0.6)
    height = bottom + side + 0.95
    figure = new_figure(width, height)
    figure.text(0.3 / width, 1 - 0.42 / height, heading, **HEADING)
    figure.text(0.2 / width, (bottom + side / 2) / height, "true (images)", rotation=90, va="center", **SECONDARY)
    for start, title, values, names, write in (
        (left, "Images", counts / counts.max(), rows, lambda row, column: f"{counts[row, column]:,}"),
        (left + side + 0.4, "Percent of the true class", fractions, [], lambda *cell: _percent(fractions[cell])),
    ):
        axes = figure.add_axes((start / width, bottom / height, side / width, side / height))
        axes.set_title(title, loc="left", fontsize=BODY, fontfamily=FONT, color=INK, pad=7)
        _plot_matrix(axes, values, write, room=side / size - 0.08)
        slant: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if turned else {}
        axes.set_xticks(range(size), classes, fontsize=BODY, **slant)
        axes.set_yticks(range(len(names)), names, fontsize=BODY)
        axes.tick_params(length=0, labelcolor=INK, labelfontfamily=FONT)
        figure.text((start + side / 2) / width, 0.2 / height, "predicted", ha="center", **SECONDARY)
    return figure


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return the inches that one line of text takes, without a renderer."""
    font = FontProperties(family=FONT, weight=weight, size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def _percent(fraction: float) -> str:
    return "–" if np.isnan(fraction) else "<1" if 0 < fraction < 0.005 else f"{100 * fraction:.0f}"


def _plot_matrix(axes: Axes, values: np.ndarray, write: Callable[[int, int], str], room: float) -> None:
    """Draw a (K, K) matrix of values in [0, 1], NaN hatched; `write` gives the text of a cell `room` inches wide."""
    size = len(values)
    axes.imshow(np.nan_to_num(values), cmap=SHADES, vmin=0, vmax=1)
    texts = {cell: write(*cell) for cell in np.ndindex(size, size)}
    fontsize = BODY * min(1.0, room / max(text_width(text, BODY, "bold") for text in texts.values()))
    for (row, column), text in texts.items():
        colour = "white" if values[row, column] > 0.6 else MUTED if text in ("0", "–") else INK
        weight = "bold" if row == column else "normal"
        font = FontProperties(family=FONT, weight=weight, size=fontsize)
        axes.text(column, row, text, ha="center", va="center", color=colour, fontproperties=font)
    for row in np.flatnonzero(np.isnan(values).all(axis=1)):
        axes.axhspan(row - 0.5, row + 0.5, facecolor="none", edgecolor=FAINT, hatch="////", lw=0)
    axes.spines[:].set_visible(False)
    edges = np.arange(size + 1) - 0.5
    axes.hlines(edges, -0.5, size - 0.5, color=FAINT, lw=1)
    axes.vlines(edges, -0.5, size - 0.5, color=FAINT, lw=1)
