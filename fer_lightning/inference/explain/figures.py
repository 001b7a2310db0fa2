"""Figures of heat maps: one face, and the averages of all classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fer_lightning.core.file_names import on_one_line
from fer_lightning.evaluation.canvas import BLUE, BODY, FAINT, FONT, HEADING, INK, MUTED, SMALL, new_figure
from fer_lightning.inference.explain.average import ClassMap
from fer_lightning.inference.explain.heat_maps import scale
from fer_lightning.inference.explain.overlay import overlay
from fer_lightning.inference.explain.regions import PARTS, REGIONS, areas

CAPTION: dict[str, Any] = {"fontsize": SMALL, "fontfamily": FONT, "color": MUTED}
PIXELS = 480  # a side of a face
COLUMNS, TILE = 4, 2.1  # of the averages: tiles a row, inches a side


def plot_face(
    face: np.ndarray, heat_map: np.ndarray, headline: str, detail: str, shares: np.ndarray, meaning: str
) -> Figure:
    """Draw a face, its heat map over it and how much of the map lies on each part.

    Args:
        face: uint8 `(C, S, S)`.
        heat_map: float `(S, S)` in [0, 1].
        headline, detail: what was explained, and a line below it.
        shares: of the map, `(6,)` in the order of `PARTS`; NaN for an empty map.
        meaning: of the colour, a line at the lower edge.
    """
    width, height, side, top = 9.6, 4.1, 2.9, 0.83
    figure = new_figure(width, height)
    figure.text(0.3 / width, 1 - 0.4 / height, headline, parse_math=False, **HEADING)
    figure.text(0.3 / width, 1 - 0.63 / height, on_one_line(detail), parse_math=False, **CAPTION)
    bottom = (height - top - side) / height
    plain = overlay(face, np.zeros(heat_map.shape), PIXELS) if len(face) == 1 else face.transpose(1, 2, 0)
    for left, pixels in ((0.3, plain), (0.45 + side, overlay(face, heat_map, PIXELS))):
        axes = figure.add_axes((left / width, bottom, side / width, side / height))
        _show(axes, pixels)
    left = 0.3 + 2 * side + 0.15 + 0.95
    axes = figure.add_axes((left / width, bottom, (width - left - 0.3) / width, side / height))
    _plot_shares(axes, shares)
    figure.text(0.3 / width, 0.12 / height, meaning, parse_math=False, **CAPTION)
    return figure


def plot_averages(maps: Sequence[ClassMap], title: str, subtitle: str) -> Figure:
    """Draw the average map of each class over its average face, and the parts of the face that shares are of.

    Args:
        maps: of each class; those without images are left empty.
        title, subtitle: two lines above.
    """
    rows = -(-(len(maps) + 1) // COLUMNS)
    width, pitch = 0.6 + COLUMNS * (TILE + 0.2) - 0.2, TILE + 0.62
    height = 0.85 + rows * pitch + 0.1
    figure = new_figure(width, height)
    figure.text(0.3 / width, 1 - 0.36 / height, title, parse_math=False, **HEADING)
    figure.text(0.3 / width, 1 - 0.6 / height, subtitle, parse_math=False, **CAPTION)
    faces = [each.face for each in maps if each.images]
    for place, each in enumerate([*maps, None]):
        row, column = divmod(place, COLUMNS)
        left, bottom = 0.3 + column * (TILE + 0.2), height - 0.85 - row * pitch - TILE
        axes = figure.add_axes((left / width, bottom / height, TILE / width, TILE / height))
        if each is None:
            _show_regions(axes, _stretched(np.mean(faces, axis=0)) if faces else None)
        elif each.images:
            _show(axes, overlay(_stretched(each.face), scale(each.heat_map[None])[0], PIXELS))
            _caption(axes, f"{each.name} ({each.images:,})", _most(each.shares))
        else:
            _show(axes, None)
            _caption(axes, f"{each.name} (0)", "no image predicted right")
    return figure


def _stretched(face: np.ndarray) -> np.ndarray:
    """Return a mean face, whose contrast is low, from black to white; one of RGB keeps its colours' proportions."""
    low, high = float(face.min()), float(face.max())
    return np.asarray(((face - low) * (255 / max(high - low, 1.0))).round().astype(np.uint8))


def _show(axes: Axes, pixels: np.ndarray | None) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=FAINT)
    if pixels is not None:
        axes.imshow(pixels, extent=(0, 1, 1, 0))


def _caption(axes: Axes, headline: str, detail: str) -> None:
    for y, text, size, colour in ((-0.1, headline, BODY, INK), (-0.19, detail, SMALL - 0.7, MUTED)):
        axes.text(
            0.5, y, text, transform=axes.transAxes, ha="center", fontsize=size, fontfamily=FONT, color=colour,
            parse_math=False,
        )  # fmt: skip


def _show_regions(axes: Axes, face: np.ndarray | None) -> None:
    _show(axes, None if face is None else overlay(face, np.zeros(face.shape[1:]), PIXELS))
    for name, (top, bottom, left, right) in REGIONS.items():
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, ec=BLUE, lw=1.3))
        axes.text(
            left + 0.015, top + 0.012, name, va="top", fontsize=7.5, fontfamily=FONT, color="white",
            bbox={"facecolor": BLUE, "edgecolor": "none", "pad": 0.8},
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(1, 0), aspect="equal")
    _caption(axes, "parts of a face", "the same for all: approximate")


def _most(shares: np.ndarray) -> str:
    """Return the two parts that have most beyond their area: `mouth 41 %, nose 12 %`."""
    gained = sorted(zip(PARTS, shares, areas().values(), strict=True), key=lambda part: part[2] - part[1])
    most = sorted(gained[:2], key=lambda part: -part[1])
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share, area in most if share > area)


def _plot_shares(axes: Axes, shares: np.ndarray) -> None:
    """Plot a bar for each part, with a mark where its area is."""
    places = range(len(PARTS))
    known = np.nan_to_num(shares)
    axes.barh(places, known, height=0.55, color="#D55E00")
    for place, area, share in zip(places, areas().values(), known, strict=True):
        axes.plot([area, area], [place - 0.42, place + 0.42], color=INK, lw=1.6)
        text = f"{100 * share:.0f} %"
        axes.text(max(share, area) + 0.025, place, text, va="center", fontsize=SMALL, fontfamily=FONT, color=INK)
    axes.set_yticks(places, PARTS)
    axes.set(xlim=(0, max(0.75, known.max() + 0.15)), xticks=[])
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=BODY, labelcolor=INK, labelfontfamily=FONT)
    title = "share of the map (mark: of the area)" if np.isfinite(shares).all() else "nothing speaks for the class"
    axes.set_title(title, loc="left", x=-0.2, pad=6, **CAPTION)
