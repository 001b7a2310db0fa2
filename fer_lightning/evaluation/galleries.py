"""Galleries of images beside what the network predicted: predictions, mistakes, a training batch.

A gallery is one axes in inches with the images placed on it: exact layout, and far faster than an axes per image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle

from fer_lightning.evaluation import figures
from fer_lightning.evaluation.canvas import BLUE, FAINT, FONT, INK, MUTED, SMALL, TITLE, VERMILLION, new_figure
from fer_lightning.evaluation.metrics import Predictions, read_predictions

GAP, MARGIN = 0.16, 0.3  # inches
LINE = 0.175  # inches a line of caption takes
HEAD = 0.85  # inches for title and subtitle
# colour, thickness and dashes of the frame of a hit, a miss, and neither: never distinguished by colour alone
FRAMES = {True: (BLUE, 1.2, "-"), False: (VERMILLION, 2.6, (0, (2.4, 1.1))), None: (FAINT, 0.8, "-")}


class Images(Protocol):
    """Images uint8 (N, C, H, W), C 1 or 3: an array, or what reads each image when it is indexed."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __len__(self) -> int: ...
    def __getitem__(self, row: int, /) -> Any: ...


class Tile(NamedTuple):
    """One image (C, H, W) uint8 with up to two lines below; `right` frames it as a hit, a miss, or not at all."""

    image: np.ndarray
    headline: str
    detail: str = ""
    right: bool | None = None


def plot_gallery(table: pd.DataFrame, images: Images, *, columns: int = 6) -> Figure:
    """Draw predictions beside the truth: one row per true class, `columns` images of it drawn at random.

    The draw depends on the labels only, so the galleries of two epochs or two models show the same faces.

    Args:
        table: a predictions table of N rows.
        images: uint8 (N, C, H, W) in the same order, C 1 or 3.
        columns: images per class.

    Raises:
        ValueError: the table is not a predictions table, or the images do not fit it.
    """
    predictions = read_predictions(table)
    _check_images(images, len(table))
    random = np.random.default_rng(0)
    members = (np.flatnonzero(predictions.labels == k) for k in np.unique(predictions.labels))
    drawn = (np.sort(random.choice(of_class, min(columns, len(of_class)), replace=False)) for of_class in members)
    rows = [[_tile(predictions, images, index) for index in chosen] for chosen in drawn]
    subtitle = f"one row per true class, up to {columns} of each drawn at random; {figures.describe_score(table)}"
    return _draw_tiles(rows, "Predictions and true classes", subtitle)


def plot_mistakes(table: pd.DataFrame, images: Images, *, limit: int = 24) -> Figure:
    """Draw the most confident mistakes first, at most `limit`; arguments and errors as for `plot_gallery`."""
    predictions = read_predictions(table)
    _check_images(images, len(table))
    wrong = np.flatnonzero(~predictions.correct)
    if len(wrong) == 0:
        return _draw_tiles([], "No mistakes", f"all of {figures.describe(table)} predicted right")
    order = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:limit]
    tiles = [_tile(predictions, images, index) for index in order]
    which = f"the {limit} most confident of {len(wrong):,}" if len(wrong) > limit else f"all {len(wrong):,}"
    which = "the only mistake" if len(wrong) == 1 else f"{which} mistakes, most confident first"
    subtitle = f"{which}; {figures.describe_score(table)}"
    return _draw_tiles(_rows(tiles, 6), "Most confident mistakes", subtitle)


def plot_batch(images: np.ndarray, labels: np.ndarray, classes: Sequence[str], *, limit: int = 32) -> Figure:
    """Draw at most `limit` images of a batch as the network gets them, labels below.

    Args:
        images: uint8 (B, C, H, W), C 1 or 3.
        labels: int64 (B,), positions in `classes`.
        classes: names.

    Raises:
        ValueError: images and labels do not fit each other.
    """
    _check_images(images, len(labels))
    tiles = [Tile(image, classes[int(label)]) for image, label in zip(images[:limit], labels, strict=False)]
    _, channels, height, width = images.shape
    colours = "grey" if channels == 1 else "RGB"
    subtitle = f"{len(tiles)} of a batch of {len(labels)}, {height} × {width} pixels, {colours}"
    return _draw_tiles(_rows(tiles, 8), "What the network sees", subtitle, tile=1.05)


def _check_images(images: Images, count: int) -> None:
    if len(images.shape) != 4 or images.shape[1] not in (1, 3) or images.dtype != np.uint8:
        raise ValueError(f"images: uint8 (N, 1 or 3, H, W) expected, got {images.dtype} {tuple(images.shape)}")
    if len(images) != count:
        raise ValueError(f"{len(images):,} images for {count:,} labels; they must stand in the same order, one each")


def _tile(predictions: Predictions, images: Images, index: int) -> Tile:
    classes, right, label = predictions.classes, bool(predictions.correct[index]), predictions.labels[index]
    confidence = _percent(predictions.confidence[index])
    headline = f"{'✓' if right else '✗'} {classes[predictions.predicted[index]]} {confidence}"
    detail = f"true: {classes[label]}"
    if not right:  # the probability of the true class shows how far off the prediction was
        detail += f" {_percent(predictions.probabilities[index, label])}"
    return Tile(images[index], headline, detail, right)


def _percent(probability: float) -> str:
    if 0.995 <= probability < 1:
        return ">99 %"
    return "<1 %" if 0 < probability < 0.005 else f"{100 * probability:.0f} %"


def _rows(tiles: list[Tile], columns: int) -> list[list[Tile]]:
    return [tiles[start : start + columns] for start in range(0, len(tiles), columns)]


def _draw_tiles(rows: list[list[Tile]], title: str, subtitle: str, tile: float = 1.3) -> Figure:
    items = [item for row in rows for item in row]
    widest = max((figures.text_width(item.headline, SMALL, "bold") for item in items), default=0)
    tile = min(max(tile, widest), 1.6)  # long class names need wider tiles, up to a limit
    aspect = items[0].image.shape[1] / items[0].image.shape[2] if items else 1.0
    pitch = tile * aspect + LINE * (2 if any(item.detail for item in items) else 1) + 0.25
    columns = max(map(len, rows), default=0)
    width = 2 * MARGIN + max(columns * (tile + GAP) - GAP, 6.0)  # a single tile would leave no room for the title
    height = HEAD + max(len(rows) * pitch, 0.1) + 0.05
    figure = new_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    room = width - 2 * MARGIN
    _write(axes, MARGIN, 0.36, title, _fitting(room, TITLE, [title], "bold"), weight="bold", ha="left")
    _write(axes, MARGIN, 0.6, subtitle, _fitting(room, SMALL, [subtitle]), color=MUTED, ha="left")
    # one size for all captions, that of the longest
    headline = _fitting(tile + 0.4 * GAP, SMALL, [item.headline for item in items], "bold")
    detail = _fitting(tile + 0.4 * GAP, SMALL - 0.7, [item.detail for item in items])
    for row, column in ((row, column) for row, members in enumerate(rows) for column in range(len(members))):
        left, top = MARGIN + column * (tile + GAP), HEAD + row * pitch
        _draw_tile(axes, rows[row][column], (left, top, tile, tile * aspect), (headline, detail))
    return figure


def _draw_tile(axes: Axes, item: Tile, box: tuple[float, float, float, float], sizes: tuple[float, float]) -> None:
    left, top, width, height = box
    pixels = item.image[0] if item.image.shape[0] == 1 else item.image.transpose(1, 2, 0)
    extent = (left, left + width, top + height, top)
    # fixed range: matplotlib would otherwise stretch the contrast of each grey image
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=extent, aspect="auto")
    colour, thickness, dashes = FRAMES[item.right]
    axes.add_patch(Rectangle((left, top), width, height, fill=False, ec=colour, lw=thickness, ls=dashes))
    middle, baseline = left + width / 2, top + height + LINE + 0.03
    ink, weight = INK if item.right is None else colour, "bold" if item.right is False else "normal"
    _write(axes, middle, baseline, item.headline, sizes[0], color=ink, weight=weight)
    _write(axes, middle, baseline + LINE, item.detail, sizes[1], color=MUTED)


def _fitting(room: float, size: float, texts: list[str], weight: str = "normal") -> float:
    """Return the type size, at most `size`, at which the longest text fits into `room` inches."""
    widest = max((figures.text_width(text, size, weight) for text in texts if text), default=0)
    return size * min(1.0, room / widest) if widest else size


def _write(
    axes: Axes, x: float, y: float, text: str, size: float, color: str = INK, weight: str = "normal", ha: str = "center"
) -> None:
    font = FontProperties(family=FONT, weight=weight, size=size)
    axes.text(x, y, text, color=color, ha=ha, va="baseline", parse_math=False, fontproperties=font)
