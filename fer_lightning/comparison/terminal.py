"""Print a comparison: its tables and notes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from fer_lightning.comparison.comparison import Comparison, describe
from fer_lightning.comparison.tables import Table, outcomes_table, ranking_table, seeds_table
from fer_lightning.runs.console import escape

OPTIONAL = ("p", "time", "parameters", "macro-F1", "epochs")  # columns that a narrow terminal leaves out, in this order


def print_comparison(comparison: Comparison, folder: Path, rows: int, console: Console | None = None) -> None:
    """Print the first rows of each table, the notes, the command that repeats the best, and where the files are."""
    console = Console(highlight=False) if console is None else console
    _print(console, f"\n[bold]{describe(comparison)}[/bold]\n")
    for group in comparison.groups:
        if len(comparison.groups) > 1:
            _print(console, f"[bold]{group.letter}: {escape(group.title)}[/bold]\n")
        _print_table(console, ranking_table(comparison, group), rows, left=("run",), bold=True)
        _print_lines(console, group.notes)
    seeds, outcomes = seeds_table(comparison), outcomes_table(comparison)
    if seeds.rows:
        _print(console, "[bold]Over seeds[/bold] (deviation between runs; interval by Student's t)\n")
        _print_table(console, seeds, rows)
    if outcomes.rows:
        _print(console, "[bold]Not ranked[/bold]\n")
        headings = outcomes.headings[:3]  # there is room for no more
        _print_table(console, Table(headings, [cells[:3] for cells in outcomes.rows]), rows, left=headings)
    _print_lines(console, [*comparison.notes[:rows], *_rest(len(comparison.notes) - rows)])
    for _, command in comparison.commands[:1]:
        _print(console, f"[bold]Repeat the best[/bold]\n  {escape(command)}\n")
    _print(console, f"written to {escape(str(folder))}")
    for name in ("compare.html", "compare.csv", *sorted(path.name for path in folder.glob("*.png"))):
        if (folder / name).exists():
            _print(console, f"  {name}")


def _print_table(console: Console, content: Table, rows: int, left: Sequence[str] = (), bold: bool = False) -> None:
    """Print the first rows of a table, the best one bold; in a file or pipe, which has no width, as wide as it is."""
    table = RichTable(show_edge=False, pad_edge=False)
    for name in content.headings:
        table.add_column(escape(name), justify="left" if name in left else "right", overflow="fold")
    for at, cells in enumerate(content.rows[:rows]):
        table.add_row(*map(escape, cells), style="bold" if bold and at == 0 else None)
    if not console.is_terminal:
        console.width = max(console.width, _width(console, table))
    for name in OPTIONAL:
        if _width(console, table) > console.width:
            table.columns = [column for column in table.columns if column.header != name]
    console.print(table)
    _print_lines(console, _rest(len(content.rows) - rows) or [""])


def _rest(more: int) -> list[str]:
    return [f"… and {more} more, see compare.html"] if more > 0 else []


def _width(console: Console, table: RichTable) -> int:
    return console.measure(table, options=console.options.update(width=10_000)).maximum


def _print(console: Console, markup: str) -> None:
    console.print(markup, highlight=False, soft_wrap=True)


def _print_lines(console: Console, lines: Sequence[str]) -> None:
    """Print plain text, and an empty line below."""
    for line in lines:
        _print(console, escape(line))
    if any(lines):
        console.print()
