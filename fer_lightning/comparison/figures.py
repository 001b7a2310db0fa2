"""Learning curves of many runs in one figure, and the importance of their settings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from fer_lightning.comparison.importance import Importance
from fer_lightning.evaluation import figures
from fer_lightning.evaluation.canvas import BLUE, BODY, FONT, HEADING, INK, MUTED, ORANGE, SMALL, VERMILLION, new_figure
from fer_lightning.runs.read import RecordedRun

# colours of Okabe and Ito, and dashes: nothing is marked by colour alone
STYLES = ((VERMILLION, "-"), (BLUE, "--"), ("#009E73", "-."), (ORANGE, ":"), ("#CC79A7", (0, (6, 1, 1, 1, 1, 1))))
WIDTH = 10.0  # inches of every figure, so that type has the same size on a page
MAX_FAINT = 150  # curves


def plot_overlaid(runs: Sequence[RecordedRun], labels: Sequence[str]) -> Figure | None:
    """Draw validation accuracy and training loss over epochs, the first few runs in colour and the others faint.

    Args:
        runs: best first; where none has curves, None is returned.
        labels: one per run, for the legend.
    """
    with_curves = [at for at, run in enumerate(runs) if run.history is not None]
    if not with_curves:
        return None
    shown, others = with_curves[: len(STYLES)], with_curves[len(STYLES) :]
    faint = [others[at] for at in np.unique(np.linspace(0, len(others) - 1, min(MAX_FAINT, len(others))).astype(int))]
    below = 0.2 * (len(shown) + bool(faint)) + 0.1
    height = 4.2 + below
    figure = new_figure(WIDTH, height)
    figure.subplots_adjust(left=0.07, right=0.975, top=1 - 0.45 / height, bottom=(0.62 + below) / height, wspace=0.18)
    styles = dict(zip(shown, STYLES, strict=False))
    titles = {"val/acc": "Validation accuracy", "train/loss": "Training loss"}
    for axes, column in zip(figure.subplots(1, 2), titles, strict=True):
        figures.style_panel(axes, titles[column])
        drawn = [_draw_curve(axes, runs[at], column, styles.get(at)) for at in reversed([*shown, *faint])]
        if not any(drawn):
            figures.leave_empty(axes)
        elif column.endswith("acc"):
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))
    names = [cut(f"{at + 1}. {labels[at]}") for at in shown]
    handles = [Line2D([], [], color=colour, ls=dashes, lw=2) for colour, dashes in styles.values()]
    if others:
        drawn_only = f", of which {len(faint)} are drawn" if len(faint) < len(others) else ""
        names.append(f"the other {len(others)}{drawn_only}")
        handles.append(Line2D([], [], color=MUTED, lw=0.8))
    font = {"family": FONT, "size": SMALL}
    legend = figure.legend(handles, names, loc="lower left", bbox_to_anchor=(0.055, 0.0), frameon=False, prop=font)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _draw_curve(axes: Axes, run: RecordedRun, column: str, style: tuple[str, object] | None) -> bool:
    """Draw one curve, faint without a style; return whether there was anything to draw."""
    if run.history is None or column not in run.history:
        return False
    values = run.history.replace([np.inf, -np.inf], np.nan).groupby("epoch")[column].last().dropna()
    if style is None:
        axes.plot(values.index, values, color=MUTED, lw=0.8, alpha=0.35, zorder=2)
    else:
        size = 4 if len(values) <= 20 else 0
        axes.plot(values.index, values, color=style[0], ls=style[1], lw=2, marker="o", ms=size, zorder=4)
    return len(values) > 0


def plot_importance(importance: Importance, names: dict[str, str]) -> Figure:
    """Draw one bar per setting, by its short name, the most important on top, with the deviation over shuffles."""
    count = len(importance.keys)
    height = 1.35 + 0.36 * count
    figure = new_figure(WIDTH, height)
    axes = figure.add_axes((0.2, 0.62 / height, 0.7, 0.36 * count / height))
    places = np.arange(count)
    axes.barh(places, importance.loss, height=0.62, color=BLUE, xerr=importance.deviation, ecolor=INK, capsize=3)
    axes.set_yticks(places, [cut(names[key], 24) for key in importance.keys], fontsize=BODY, fontfamily=FONT)
    axes.invert_yaxis()
    axes.set_xlim(0, max(float((importance.loss + importance.deviation).max()) * 1.05, 0.01))
    figures.style_axes(axes, "left", "x", "loss in R² when the setting is shuffled")
    figure.text(0.03, 1 - 0.4 / height, "Importance of settings", **HEADING)
    return figure


def cut(text: str, longest: int = 110) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
