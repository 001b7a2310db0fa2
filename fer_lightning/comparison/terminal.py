"""A comparison in the terminal: one table, and what one must know to read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fer_lightning.comparison import formatting
from fer_lightning.comparison.comparison import Comparison, describe
from fer_lightning.comparison.html_page import CAPTIONS
from fer_lightning.comparison.rerun_command import repeating_command

SPARED = ("p", "time", "parameters", "macro-F1", "epochs")  # columns that a narrow terminal does without, in this order


def print_comparison(comparison: Comparison, folder: Path, rows: int, console: Console | None = None) -> None:
    """Print the ranking, seeds, failures and notes, the command that repeats the best, and where the files are.

    Args:
        comparison: what was found.
        folder: that the files were written to.
        rows: printed of each group at the most.
        console: where to; the terminal by default.
    """
    console = Console() if console is None else console
    console.print(f"\n[bold]{describe(comparison)}[/bold]\n", highlight=False)
    if comparison.groups:
        _print_table(console, _ranking(comparison, rows))
        for group in comparison.groups:
            mark = f"{group.letter}: " if len(comparison.groups) > 1 else ""
            for remark in group.notes:
                _say(console, f"{mark}{remark}")
        if any(group.notes for group in comparison.groups):
            console.print()
    if comparison.repeated:
        console.print("[bold]Over seeds[/bold] (deviation between runs; interval by Student's t)\n", highlight=False)
        _print_table(
            console, _plain(formatting.seed_heading(comparison), formatting.seed_rows(comparison)[:rows], right=True)
        )
        _print_rest(console, len(comparison.repeats) - rows)
    if comparison.unranked:
        console.print("[bold]Not ranked[/bold]\n", highlight=False)
        lines = [[run.name, formatting.outcome(run), run.status.message or ""] for run in comparison.unranked[:rows]]
        _print_table(console, _plain(["run", "outcome", "message"], lines))
        _print_rest(console, len(comparison.unranked) - rows)
    for note in comparison.notes[:rows]:
        _say(console, note)
    _print_rest(console, len(comparison.notes) - rows)
    if 0 < len(comparison.notes) <= rows:
        console.print()
    _print_command(console, comparison)
    console.print(f"written to {escape(str(folder))}", highlight=False, soft_wrap=True)
    for name in ("compare.html", "compare.csv", *(f"{stem}.png" for stem in CAPTIONS)):
        if (folder / name).exists():
            console.print(f"  {name}", highlight=False)


def _ranking(comparison: Comparison, rows: int) -> Table:
    """One table for all groups, a line between them."""
    table, columns = Table(show_edge=False, pad_edge=False), comparison.columns(*comparison.groups)
    for at, name in enumerate(formatting.heading(comparison.groups[0], columns)):
        several = len(comparison.groups) > 1
        name = {2: "chosen by", 3: "accuracy"}.get(at, name) if several else name
        table.add_column(escape(name), justify="left" if at == 1 else "right", overflow="fold")
    for group in comparison.groups:
        if len(comparison.groups) > 1:
            table.add_section()
            table.add_row(group.letter, f"[bold]{escape(group.title)}[/bold]")
        for cells in formatting.rows(group, columns)[:rows]:
            table.add_row(*map(escape, cells), style="bold" if cells[0] == "1" else None)
        if len(group.runs) > rows:
            table.add_row("", f"… and {len(group.runs) - rows} more")
    return table


def _plain(heading: Sequence[str], lines: Sequence[Sequence[str]], *, right: bool = False) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for name in heading:
        table.add_column(escape(name), justify="right" if right else "left", overflow="fold")
    for cells in lines:
        table.add_row(*map(escape, cells))
    return table


def _print_table(console: Console, table: Table) -> None:
    """Print a table; in a file or pipe, whose width means nothing, as wide as it likes."""
    if not console.is_terminal:
        console.width = max(console.width, _width(console, table))
    for name in SPARED:
        if _width(console, table) > console.width:
            table.columns = [column for column in table.columns if column.header != name]
    console.print(table)
    console.print()


def _width(console: Console, table: Table) -> int:
    return console.measure(table, options=console.options.update(width=10_000)).maximum


def _print_command(console: Console, comparison: Comparison) -> None:
    command = repeating_command(comparison.groups[0].best) if comparison.groups else None
    if command is not None:
        console.print("[bold]Repeat the best[/bold]", highlight=False)
        _say(console, f"  {command}\n")


def _print_rest(console: Console, more: int) -> None:
    if more > 0:
        console.print(f"… and {more} more, see compare.html\n", highlight=False)


def _say(console: Console, text: str) -> None:
    console.print(escape(text), highlight=False, soft_wrap=True)
