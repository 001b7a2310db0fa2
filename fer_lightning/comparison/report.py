"""From run folders to the files of a comparison."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from fer_lightning.comparison.comparison import Comparison, compare, describe, label, tabulate
from fer_lightning.comparison.figures import plot_importance, plot_overlaid
from fer_lightning.comparison.formatting import shorten
from fer_lightning.comparison.html_page import render
from fer_lightning.comparison.importance import Importance
from fer_lightning.comparison.parallel_coordinates import plot_parallel
from fer_lightning.comparison.terminal import print_comparison
from fer_lightning.core.atomic_write import atomic_write
from fer_lightning.core.errors import UserError
from fer_lightning.evaluation.figures import save

BARS = 16  # settings in the figure of importance
NAMED = 3  # folders in the heading of the page; a pattern of the shell may have become hundreds
DPI = 130  # a page of several figures stays small enough to be mailed


def compare_runs(cfg: DictConfig) -> Comparison:
    """Compare the runs in or below `cfg.runs`, print the table and write `compare.html`, `compare.csv` and figures.

    Args:
        cfg: composed from `conf/compare.yaml`, checked.

    Raises:
        DataError: a folder is not there or holds no run.
        UserError: none of the runs has a score; the page is written and says why.
    """
    folder = Path(cfg.output_dir)
    comparison = compare(cfg.runs)
    folder.mkdir(parents=True, exist_ok=True)
    figures = draw(comparison, folder)
    name = shorten([Path(place).expanduser().resolve().name for place in cfg.runs], NAMED)
    with atomic_write(folder / "compare.html") as new:
        new.write_text(render(comparison, name, figures, cfg.rows), encoding="utf-8")
    tabulate(comparison).to_csv(folder / "compare.csv", index=False)
    print_comparison(comparison, folder, cfg.rows)
    if not comparison.groups:
        raise UserError(f"{describe(comparison)}, and none has a score to rank it by; see {folder / 'compare.html'}")
    return comparison


def draw(comparison: Comparison, folder: Path) -> dict[str, bytes]:
    """Write the figures that have something to show, and return them: stem → PNG."""
    if not comparison.groups:
        return {}
    runs, axes = comparison.groups[0].runs, comparison.columns(comparison.groups[0])
    found = {}
    if axes and len(runs) > 1:
        found["parallel"] = plot_parallel(runs, axes, "Settings against the score")
    if isinstance(comparison.importance, Importance):
        found["importance"] = plot_importance(comparison.importance.first(BARS), comparison.keys)
    curves = plot_overlaid(runs, [label(run, axes) for run in runs])
    if curves is not None:
        found["curves"] = curves
    return {stem: save(figure, folder / f"{stem}.png", dpi=DPI).read_bytes() for stem, figure in found.items()}
