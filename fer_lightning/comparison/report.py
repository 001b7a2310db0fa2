"""Compare run folders: print the tables, and write the page, the CSV file and the figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig

from fer_lightning.comparison.comparison import Comparison, compare, describe, label, tabulate
from fer_lightning.comparison.figures import plot_importance, plot_overlaid
from fer_lightning.comparison.formatting import percent, score, shorten
from fer_lightning.comparison.importance import Importance
from fer_lightning.comparison.parallel_coordinates import plot_parallel
from fer_lightning.comparison.tables import outcomes_table, ranking_table, seeds_table
from fer_lightning.comparison.terminal import print_comparison
from fer_lightning.core.atomic_write import atomic_write, make_folder, write_text
from fer_lightning.core.csv_cells import guard_table
from fer_lightning.core.errors import UserError
from fer_lightning.core.file_names import ON_DISK
from fer_lightning.core.home import expand_user
from fer_lightning.evaluation.canvas import save
from fer_lightning.evaluation.html import render_page

EXPLAINED = (
    "How much a random forest, fitted to these runs, loses when one setting is shuffled between them. On runs that"
    " a tree had not seen, it explains {:.0f} % of the variance. The importance of the seed is noise."
)
CAPTIONS = (  # stem of the figure, title, what to look for
    ("parallel", "Settings against the score", "Lines that meet high on the right show what good runs have in common."),
    ("importance", "Importance of settings", EXPLAINED),
    ("curves", "Learning curves", "The best runs in colour, the others faint."),
)


def compare_runs(cfg: DictConfig) -> Comparison:
    """Compare the runs in or below `cfg.runs`, print the table and write `compare.html`, `compare.csv` and figures.

    Raises:
        DataError: a folder is not there or holds no run.
        UserError: none of the runs has a score; the page is written and says why.
    """
    folder = Path(cfg.output_dir)
    comparison = compare(cfg.runs)
    make_folder(folder)
    figures = draw(comparison, folder)
    # a pattern of the shell may have become hundreds of folders
    name = shorten([expand_user(place).resolve().name for place in cfg.runs], 3)
    write_text(folder / "compare.html", render(comparison, name, figures, cfg.rows))
    with atomic_write(folder / "compare.csv") as new:
        guard_table(tabulate(comparison)).to_csv(new, index=False, errors=ON_DISK)
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
        found["parallel"] = plot_parallel(runs, axes)
    if isinstance(comparison.importance, Importance):
        found["importance"] = plot_importance(comparison.importance.first(16), comparison.keys)
    curves = plot_overlaid(runs, [label(run, axes) for run in runs])
    if curves is not None:
        found["curves"] = curves
    return {stem: save(figure, folder / f"{stem}.png", dpi=130).read_bytes() for stem, figure in found.items()}


def render(comparison: Comparison, name: str, figures: Mapping[str, bytes], rows: int) -> str:
    """Return the page as HTML, with a heading, the figures of `draw` and the first rows of each table unfolded."""
    importance, groups = comparison.importance, comparison.groups
    explained = 100 * importance.explained if isinstance(importance, Importance) else 0
    best = groups[0].best if groups else None
    scored = "not scored"
    if best is not None and groups[0].split:
        accuracy = percent(best.metrics.get("accuracy"), best.metrics.get("accuracy_interval"))
        scored = f"accuracy on the {groups[0].split} images {accuracy}"
    return render_page(
        "comparison.html.j2",
        name,
        rows=rows,
        counts=describe(comparison),
        groups=groups,
        best_value="" if best is None else score(best.monitor, best.value),
        best_accuracy=scored,
        rankings=[(group, ranking_table(comparison, group)) for group in groups],
        paired=any(len(group.runs) > 1 for group in groups),
        commands=comparison.commands[:5],
        seeds=seeds_table(comparison),
        figures=[(figures[key], title, text.format(explained)) for key, title, text in CAPTIONS if key in figures],
        no_importance=importance if groups and isinstance(importance, str) else None,
        outcomes=outcomes_table(comparison),
        notes=comparison.notes,
    )
