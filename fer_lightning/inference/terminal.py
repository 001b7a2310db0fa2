"""What `predict` prints at its end: each face, or how many faces have each expression."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fer_lightning.inference.face import UNCERTAIN, Face, Faces
from fer_lightning.runs.console import escape

MOST_ROWS = 20  # of pictures; more are summed up
MOST_PORTRAITS = 3  # faces of one picture that are shown with every expression
MOST_UNREAD = 5  # of the files that could not be read
BAR = 30  # letters of a probability of 1


class Summary:
    """Counts what is added; holds the faces of the first pictures only."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        self.pictures, self.statuses, self.labels = 0, Counter[str](), Counter[str]()
        self._confidence = dict.fromkeys((*classes, UNCERTAIN), 0.0)  # summed up
        self.frames = 0  # pictures that are of videos
        self._unread: list[str] = []
        self._first: list[tuple[str, str | None, list[Face]]] = []

    def add(self, faces: Faces) -> None:
        """Count the faces of a picture."""
        self.pictures += 1
        self.frames += faces.frame is not None
        for face in faces:
            self.statuses[face.status] += 1
            if face.label is not None:
                self.labels[face.label] += 1
                self._confidence[face.label] += face.confidence
        if faces.picture is None and len(self._unread) < MOST_UNREAD:
            self._unread.append(f"{faces.source}: {faces.note}")
        if len(self._first) <= MOST_ROWS:
            self._first.append((faces.source, faces.note, list(faces)))

    @property
    def faces(self) -> int:
        """How many faces there were."""
        return sum(self.labels.values())

    def sentence(self) -> str:
        """Return how many pictures, faces and files without any there were."""
        parts = [_count(self.faces, "face")]
        parts[0] += f" ({self.statuses['uncertain']:,} uncertain)" if self.statuses["uncertain"] else ""
        parts += [f"{self.statuses['no_face']:,} without a face"] if self.statuses["no_face"] else []
        parts += [f"{self.statuses['unreadable']:,} unreadable"] if self.statuses["unreadable"] else []
        return f"{_count(self.pictures, 'frame' if self.frames == self.pictures else 'picture')}: {', '.join(parts)}"

    def describe_unreadable(self, table: Path) -> str:
        """Return what could not be read, and where it says why."""
        if self.pictures == 1:
            return self._unread[0]
        count = self.statuses["unreadable"]
        which = f"{count:,} of {self.pictures:,} pictures cannot be read"
        return f"{which}: the column note of {table} says why"

    def print(self, folder: Path, names: Sequence[str], console: Console | None = None) -> None:
        """Print the faces, the counts, and the names of what was written to a folder."""
        console = Console(highlight=False) if console is None else console
        rows = sum(len(faces) for _, _, faces in self._first)
        if self.pictures == 1 and 0 < self.faces <= MOST_PORTRAITS:
            self._print_bars(console)
        elif not self.frames and self.pictures <= MOST_ROWS and rows <= 2 * MOST_ROWS:
            self._print_rows(console)
        else:
            self._print_classes(console)
        console.print(f"\n{self.sentence()}")
        console.print(f"\nwritten to {escape(str(folder))}", soft_wrap=True)
        for name in names:
            console.print(f"  {name}")

    def _print_bars(self, console: Console) -> None:
        source, note, faces = self._first[0]
        for number, face in enumerate(faces, 1):
            name = f"{escape(os.path.basename(source) or source)}" + (f", face {number}" if len(faces) > 1 else "")
            console.print(f"\n{name}: [bold]{escape(str(face.label))}[/bold] {face.confidence:.0%}", soft_wrap=True)
            width = max(map(len, self.classes))
            for label, share in sorted(face.probabilities.items(), key=lambda item: -item[1]):
                bar = "█" * round(BAR * share) or "▏"
                console.print(f"  {escape(label):{width}} {share:6.1%} {bar}", soft_wrap=True)
        if note is not None:
            console.print(escape(note), soft_wrap=True)

    def _print_rows(self, console: Console) -> None:
        table = _table("picture", "face", "label", "confidence", "note")
        for source, note, faces in self._first:
            for number, face in enumerate(faces, 1):
                found = face.label is not None
                cells = (str(number), escape(str(face.label)), f"{face.confidence:.1%}") if found else ("", "", "")
                said = note or ("" if found else face.status.replace("_", " "))
                table.add_row(escape(source) if number == 1 else "", *cells, escape(said))
        _print_table(console, table)

    def _print_classes(self, console: Console) -> None:
        table = _table("label", "faces", "", "mean confidence")
        for label, count in self.labels.most_common():
            mean = f"{self._confidence[label] / count:.1%}"
            table.add_row(escape(label), f"{count:,}", f"{count / self.faces:.1%}", mean)
        _print_table(console, table)
        rest = self.statuses["unreadable"] - len(self._unread)
        lines = [*self._unread, *([f"and {rest:,} more"] if rest else [])]
        for at, line in enumerate(lines):
            console.print("\n" * (at == 0) + f"unreadable: {escape(line)}", soft_wrap=True)


def _table(*headings: str) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for heading in headings:
        is_text = heading in ("picture", "label", "note")
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    return table


def _print_table(console: Console, table: Table) -> None:
    """Print a table; in a file or pipe, which has no width, as wide as it is."""
    if not console.is_terminal:
        console.width = max(console.width, console.measure(table).maximum)
    console.print()
    console.print(table)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
