"""What all figures share: canvas, colours, type sizes; without pandas, which a plot of a video does not need.

Figures are about 10 inches wide with 9 to 13 pt type, so that they stay readable at the 6.3 inches of a thesis page.
`pyplot` is never imported: its global state is not safe in threads and may ask for a screen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from fer_lightning.core.atomic_write import atomic_write, make_folder

# Okabe and Ito (2008): distinct under every common colour blindness. Nothing is marked by colour alone.
BLUE, VERMILLION, ORANGE = "#0072B2", "#D55E00", "#E69F00"
INK, MUTED, FAINT = "#1a1a1a", "#5f6368", "#e3e5e8"
# one hue from white to near black, so that it can be read in a grey print as well
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#cfe3f1", "#79b4d9", BLUE, "#003a5c"])
FONT = "DejaVu Sans"  # comes with matplotlib: the same figure on every machine
TITLE, BODY, SMALL = 13, 10.5, 9.5
HEADING: dict[str, Any] = {"fontsize": TITLE, "fontfamily": FONT, "fontweight": "bold", "color": INK}
SECONDARY: dict[str, Any] = {"fontsize": BODY, "fontfamily": FONT, "color": MUTED}


def save(figure: Figure, path: Path | str, *, dpi: int = 150) -> Path:
    """Write a figure; the suffix decides the format (.png, .pdf, .svg). Missing folders are made."""
    path = Path(path)
    make_folder(path.parent)
    with atomic_write(path) as new:
        figure.savefig(new, dpi=dpi, facecolor="white", format=path.suffix.removeprefix(".") or "png")
    return path


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure of so many inches, with its own Agg canvas."""
    return FigureCanvasAgg(Figure(figsize=(width, height), facecolor="white")).figure
