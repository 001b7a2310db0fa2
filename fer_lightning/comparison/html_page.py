"""A comparison on one page that can be mailed, printed and opened anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from fer_lightning.comparison import formatting
from fer_lightning.comparison.comparison import Comparison, describe
from fer_lightning.comparison.importance import Importance
from fer_lightning.comparison.ranking import Group
from fer_lightning.comparison.rerun_command import of_its_sweep, repeating_command
from fer_lightning.evaluation.html import document, figure_of, table_of

CAPTIONS = {  # stem of the figure: title, what to look for
    "parallel": ("Settings against the score", "Lines that meet high on the right show what good runs have in common."),
    "importance": ("Importance of settings", ""),
    "curves": ("Learning curves", "The best runs in colour, the others faint."),
}
GAPS = (
    "“To the best” is the difference in accuracy on the same images, in percentage points, with its 95 % interval"
    " (Agresti and Min); p is McNemar's exact test. Neither is corrected for how many runs were looked at."
)


def render(comparison: Comparison, name: str, figures: Mapping[str, bytes], rows: int) -> str:
    """Return the page.

    Args:
        comparison: what was found.
        name: what was compared.
        figures: stem of `CAPTIONS` → PNG.
        rows: of each table that stand open; the others unfold.
    """
    style = Path(__file__).with_name("compare.css").read_text(encoding="utf-8")
    sections = (
        _summary(comparison),
        *(_ranking(comparison, group, rows) for group in comparison.groups),
        f'<p class="quiet">{GAPS}</p>' if any(len(group.runs) > 1 for group in comparison.groups) else "",
        _commands(comparison),
        _seeds(comparison, rows),
        _figures(comparison, figures),
        _unranked(comparison, rows),
        _notes(comparison),
    )
    return document(
        f"{name}: comparison", "Facial expressions: runs compared", name, sections, "compare.csv has it all.", style
    )


def _summary(comparison: Comparison) -> str:
    if not comparison.groups:
        return (
            f'<p class="banner"><strong>Nothing to rank.</strong> {escape(describe(comparison))}; none has a score.</p>'
        )
    group = comparison.groups[0]
    best = group.best
    kind = "Best run" if len(comparison.groups) == 1 else "Best run of the largest group"
    remarks = "".join(f"<p>{escape(remark)}</p>" for remark in group.notes)
    accuracy = formatting.percent(best.metrics.get("accuracy"), best.metrics.get("accuracy_interval"))
    scored = f"accuracy on the {group.split} images {accuracy}" if group.split else "not scored"
    return f"""<section class="card hero">
<p class="kind">{kind}</p>
<div class="score">{escape(formatting.score(best.monitor, best.value))} <small>{escape(str(best.monitor))}</small></div>
<p><b>{escape(best.name)}</b></p>
<p class="quiet">{escape(scored)}; {escape(describe(comparison))}</p>
{remarks}</section>"""


def _ranking(comparison: Comparison, group: Group, rows: int) -> str:
    title = f"<h2>Ranking {group.letter}</h2>" if len(comparison.groups) > 1 else "<h2>Ranking</h2>"
    columns = comparison.columns(group)
    lines = [_line(cells, ' class="total"' if cells[0] == "1" else "") for cells in formatting.rows(group, columns)]
    apart = group is not comparison.groups[0]
    remarks = "".join(f'<p class="quiet">{escape(remark)}</p>' for remark in group.notes) if apart else ""
    about = f'<p class="quiet">By {escape(group.title)}.</p>'
    return f"{title}{about}{_folding(formatting.heading(group, columns), lines, rows, 'ranking')}{remarks}"


def _seeds(comparison: Comparison, rows: int) -> str:
    if not comparison.repeated:
        return ""
    lines = [_line(cells, head=0) for cells in formatting.seed_rows(comparison)]
    about = (
        '<p class="quiet">Runs whose settings differ in their seed only. The interval is of the mean, by Student\'s t: '
        "it thinks of the seeds as drawn from all seeds.</p>"
    )
    return f"<h2>Over seeds</h2>{about}{_folding(formatting.seed_heading(comparison), lines, rows, 'seeds')}"


def _commands(comparison: Comparison) -> str:
    found = []
    for group in comparison.groups[:5]:
        command = repeating_command(group.best)
        title = f'<p class="quiet">{group.letter}: {escape(group.best.name)}</p>' if len(comparison.groups) > 1 else ""
        if command is not None:
            found.append(f'{title}<pre class="card command">{escape(command)}</pre>')
    return f"<h2>Repeat the best</h2>{''.join(found)}" if found else ""


def _figures(comparison: Comparison, figures: Mapping[str, bytes]) -> str:
    of = f" of group {comparison.groups[0].letter}" if len(comparison.groups) > 1 else ""
    parts = []
    for stem, (title, caption) in CAPTIONS.items():
        if stem in figures:
            caption = _explain(comparison.importance) if stem == "importance" else caption
            parts.append(figure_of(figures[stem], f"{title}{of}", caption))
    if isinstance(comparison.importance, str) and comparison.groups:
        parts.append(f'<p class="quiet">{escape(comparison.importance)}</p>')
    return f"<h2>Figures</h2>{''.join(parts)}" if parts else ""


def _explain(importance: Importance | str) -> str:
    if isinstance(importance, str):
        return ""
    return (
        "How much a random forest, fitted to these runs, loses when one setting is shuffled between them. On runs that"
        f" a tree had not seen, it explains {100 * importance.explained:.0f} % of the variance. What the seed seems to"
        " matter is noise."
    )


def _unranked(comparison: Comparison, rows: int) -> str:
    lines = []
    for run in comparison.unranked:
        told = "".join(f"<code>{escape(word)}</code> " for word in run.overrides if not of_its_sweep(word))
        cells = [run.name, formatting.outcome(run), run.status.message or formatting.NONE, formatting.epochs(run)]
        cells += [formatting.duration(run.status.seconds), str(run.status.attempts)]
        lines.append(_line(cells, after=f'<td class="told">{told}</td>'))
    heading = ("run", "outcome", "message", "epochs", "time", "attempts", "typed")
    return f"<h2>Not ranked</h2>{_folding(heading, lines, rows, 'outcomes')}" if lines else ""


def _notes(comparison: Comparison) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in comparison.notes)
    return f'<h2>Notes</h2><ul class="quiet">{items}</ul>' if items else ""


def _line(cells: Sequence[str], attributes: str = "", *, head: int = 1, after: str = "") -> str:
    """One row; the cell that names it is its heading."""
    inner = "".join(
        f'<th scope="row" title="{escape(text)}">{escape(text)}</th>' if at == head else f"<td>{escape(text)}</td>"
        for at, text in enumerate(cells)
    )
    return f"<tr{attributes}>{inner}{after}</tr>"


def _folding(columns: Iterable[str], lines: Sequence[str], rows: int, kind: str) -> str:
    """A table of some rows, and one of the others that unfolds."""
    columns, rest = list(columns), lines[rows:]
    more = f"<details><summary>{len(rest)} more</summary>{table_of(columns, rest, kind)}</details>" if rest else ""
    return table_of(columns, lines[:rows], kind) + more
