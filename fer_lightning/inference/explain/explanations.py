"""`explanations.csv` and a figure of each face, written as pictures come."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fer_lightning.core.atomic_write import atomic_write, make_folder
from fer_lightning.core.csv_cells import guard
from fer_lightning.core.file_names import ON_DISK
from fer_lightning.evaluation.canvas import save
from fer_lightning.evaluation.html import percent
from fer_lightning.inference.annotate import AnnotatedCopies
from fer_lightning.inference.crop import crop_face
from fer_lightning.inference.explain.figures import plot_face
from fer_lightning.inference.explain.heat_maps import Method, evidence, scale
from fer_lightning.inference.explain.regions import PARTS, shares
from fer_lightning.inference.face import Face, Faces
from fer_lightning.inference.recognizer import Recognizer
from fer_lightning.inference.table import BEFORE

COLUMNS = (*BEFORE, "method", "class", "probability", "highest", *PARTS, "figure", "status", "note")


class Explanations:
    """Explains the faces of pictures; see `open_explanations`."""

    def __init__(
        self, writer: Any, figures: AnnotatedCopies, recognizer: Recognizer, method: Method, wanted: str | None
    ) -> None:
        writer.writerow(COLUMNS)
        self._writer, self._figures = writer, figures
        self.recognizer, self.method, self.wanted = recognizer, method, wanted

    def add(self, faces: Faces) -> None:
        """Write a row and a figure for each face of a picture, or a row that says why there is none."""
        time = None if faces.time is None else f"{faces.time:.3f}"
        if faces.picture is None or faces[0].label is None:
            blank = [None] * (len(COLUMNS) - 5)
            self._write(faces.source, faces.frame, time, *blank, faces[0].status, faces.note)
            return
        classes = [self.wanted or _labels(face)[0] for face in faces]
        size, channels = self.recognizer.image_size, self.recognizer.channels
        crops = np.stack([crop_face(faces.picture, face.box, size, channels) for face in faces])
        positions = np.array([self.recognizer.classes.index(name) for name in classes])
        maps = evidence(self.recognizer, crops, self.method, positions)
        for number, (face, name, crop, heat, parts) in enumerate(
            zip(faces, classes, crops, maps, shares(maps), strict=True), 1
        ):
            file = self._figures.folder / f"{self._figures.place(faces.source)}{_suffix(faces, number)}"
            origin = f"{faces.source}{f', face {number} of {len(faces)}' if len(faces) > 1 else ''}"
            meaning = self._meaning(float(heat.max()))
            save(plot_face(crop, scale(heat[None])[0], *self._describe(face, name, origin), parts, meaning), file)
            where = (faces.source, faces.frame, time, number, *(face.box or [None] * 4))
            what = (face.label, f"{face.confidence:.6f}", self.method, name, f"{face.probabilities[name]:.6f}")
            known = [f"{heat.max():.6f}", *(None if np.isnan(share) else f"{share:.4f}" for share in parts)]
            self._write(*where, *what, *known, file.relative_to(self._figures.folder.parent), face.status, faces.note)

    def _describe(self, face: Face, name: str, origin: str) -> tuple[str, str]:
        """Return the two lines above a figure."""
        shown = f"{face.label} {percent(face.confidence)}"
        if self.wanted is not None:
            return f"looking for {name}, {percent(face.probabilities[name])}", f"recognised as {shown}; {origin}"
        second = _labels(face)[1:2]
        return shown, "; ".join([*(f"then {other} {percent(face.probabilities[other])}" for other in second), origin])

    def _meaning(self, highest: float) -> str:
        """Return the line below a figure, which says how large the highest value is: each map has its own scale."""
        if self.method == "gradcam":
            return "Orange: the network's last map speaks for the class. The line encloses half the highest value."
        if highest == 0:
            return "Hiding any place makes the class no less probable."
        points = f"{100 * highest:.1f}" if highest >= 0.001 else "less than 0.1"
        return (
            f"Orange: hiding that place lowers the probability, by {points} points at most; the line: by half of that."
        )

    def _write(self, *cells: object) -> None:
        self._writer.writerow([guard(cell) for cell in cells])


@contextmanager
def open_explanations(
    table: Path, figures: Path, names: Sequence[str], recognizer: Recognizer, method: Method, wanted: str | None
) -> Iterator[list[Explanations]]:
    """Yield, as the only output of a batch, what writes the table, which is at its path when the block ends.

    Args:
        table, figures: the file of the table and the folder of the figures.
        names: the sources, as they were typed: figures lie in the folders that pictures have below all of them.
        recognizer, method: see `heat_maps`.
        wanted: the class that is explained; None for the one that is predicted.
    """
    make_folder(table.parent)
    places = AnnotatedCopies(figures, names, recognizer.classes)
    with atomic_write(table) as new, new.open("w", encoding="utf-8", errors=ON_DISK, newline="") as file:
        yield [Explanations(csv.writer(file, lineterminator="\n"), places, recognizer, method, wanted)]


def _labels(face: Face) -> list[str]:
    """Return the classes, the most probable first; an uncertain face has one, too."""
    return sorted(face.probabilities, key=lambda name: -face.probabilities[name])


def _suffix(faces: Faces, number: int) -> str:
    """Return what tells a figure from those of other faces of the same file."""
    frame = "" if faces.frame is None else f"_frame{faces.frame}"
    return f"{frame}_face{number}.png"
