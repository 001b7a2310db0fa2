"""A comparison as one page that can be mailed, printed and opened anywhere."""

from __future__ import annotations

from collections.abc import Mapping

from fer_lightning.comparison.comparison import Comparison, describe
from fer_lightning.comparison.formatting import percent, score
from fer_lightning.comparison.importance import Importance
from fer_lightning.comparison.tables import outcomes_table, ranking_table, seeds_table
from fer_lightning.evaluation.html import render_page

EXPLAINED = (
    "How much a random forest, fitted to these runs, loses when one setting is shuffled between them. On runs that"
    " a tree had not seen, it explains {:.0f} % of the variance. The importance of the seed is noise."
)
CAPTIONS = {  # stem of the figure: title, what to look for
    "parallel": ("Settings against the score", "Lines that meet high on the right show what good runs have in common."),
    "importance": ("Importance of settings", EXPLAINED),
    "curves": ("Learning curves", "The best runs in colour, the others faint."),
}
COMMANDS = 5  # groups whose best run is shown with its command


def render(comparison: Comparison, name: str, figures: Mapping[str, bytes], rows: int) -> str:
    """Return the page.

    Args:
        comparison: what was found.
        name: what was compared.
        figures: stem of `CAPTIONS` → PNG.
        rows: of each table that are shown; the others unfold.
    """
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
        commands=comparison.commands[:COMMANDS],
        seeds=seeds_table(comparison),
        figures=[
            (figures[stem], title, caption.format(explained))
            for stem, (title, caption) in CAPTIONS.items()
            if stem in figures
        ],
        no_importance=importance if groups and isinstance(importance, str) else None,
        outcomes=outcomes_table(comparison),
        notes=comparison.notes,
    )
