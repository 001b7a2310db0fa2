"""The curve of a learning-rate range test."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fer_lightning.evaluation.canvas import BLUE, BODY, FONT, HEADING, MUTED, ORANGE, new_figure
from fer_lightning.evaluation.figures import style_axes


def plot_lr_range(rates: np.ndarray, losses: np.ndarray, smooth: np.ndarray, found: float | None) -> Figure:
    """Plot the loss against the learning rate, on a logarithmic axis, with the rate that was found.

    Args:
        rates, losses, smooth: float `(n,)`: learning rate of each step, loss of its batch, and the smoothed loss.
        found: the chosen rate; None for none.
    """
    figure = new_figure(10, 4.4)
    figure.subplots_adjust(left=0.065, right=0.975, top=0.885, bottom=0.14)
    axes = figure.subplots()
    axes.set_title("Learning-rate range test", loc="left", pad=9, **HEADING)
    style_axes(axes, "bottom", "y", "learning rate")
    axes.set_xscale("log")
    axes.plot(rates, losses, ".", ms=4, color=ORANGE, label="loss of each step")
    axes.plot(rates, smooth, color=BLUE, lw=2, label="smoothed")
    if len(losses):
        low, high = float(losses.min()), float(np.median(losses[:10]))
        room = max(high - low, 0.1)
        axes.set_ylim(low - 0.2 * room, high + room)  # where the loss blows up says only that it does
    if found is not None:
        axes.axvline(found, color=MUTED, lw=1, ls=":", zorder=1)
        axes.set_title(f"lowest at {found:g}", loc="right", fontsize=BODY, fontfamily=FONT, color=BLUE, pad=9)
    style: dict[str, Any] = {"frameon": False, "prop": {"family": FONT, "size": BODY}}
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.09), ncols=2, borderaxespad=0, **style)  # beside no point
    return figure
