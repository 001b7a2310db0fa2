"""The table: names of every kind, classes that are called as its columns."""

from __future__ import annotations

import csv
from pathlib import Path

from fer_lightning.core.csv_cells import unguard
from fer_lightning.inference.face import Box, Face, Faces
from fer_lightning.inference.table import open_table

NAMES = ["=1+1.jpg", "-x.jpg", "line\nbreak.jpg", 'a,"b".jpg', "grüße 喜.jpg", "caf\udce9.jpg", "'quoted'.jpg"]


def test_every_name_of_a_file_comes_back(tmp_path: Path) -> None:
    with open_table(tmp_path / "t.csv", ["happy"]) as table:
        for name in NAMES:
            table.add(Faces([Face(status="no_face")], None, name))
        assert not (tmp_path / "t.csv").exists()  # it appears when it is whole
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert [unguard(row["file"]) for row in rows] == NAMES
    assert rows[0]["file"] == "'=1+1.jpg"  # no formula


def test_classes_called_as_columns_have_columns_of_their_own(tmp_path: Path) -> None:
    classes = ["label", "x", "@calm"]
    face = Face("label", 0.7, {"label": 0.7, "x": 0.2, "@calm": 0.1}, Box(1, 2, 3, 4))
    with open_table(tmp_path / "t.csv", classes) as table:
        table.add(Faces([face, face], None, "a.mp4", frame=3, time=0.1))
    with (tmp_path / "t.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["label"], first["x"], first["frame"], first["time"]) == ("label", "1", "3", "0.100")
    assert [first[name] for name in ("label_probability", "x_probability", "'@calm")] == [
        "0.700000",
        "0.200000",
        "0.100000",
    ]
    assert (first["face"], second["face"]) == ("1", "2")
