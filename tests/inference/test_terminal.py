"""What is printed at the end: short for one picture, for some, and for many."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fer_lightning.inference.face import Box, Face, Faces
from fer_lightning.inference.terminal import Summary

CLASSES = ["happy", "sad"]
PICTURE = np.zeros((9, 9), np.uint8)


def face(label: str = "happy", confidence: float = 0.75, status: str = "ok") -> Face:
    other = {"happy": "sad", "sad": "happy", "uncertain": "sad"}[label]
    first = "happy" if label == "uncertain" else label
    return Face(label, confidence, {first: confidence, other: 1 - confidence}, Box(0, 0, 5, 5), status)  # type: ignore[arg-type]


def printed(*pictures: Faces, width: int = 80) -> list[str]:
    summary, text = Summary(CLASSES), io.StringIO()
    for faces in pictures:
        summary.add(faces)
    summary.print(Path("out"), ["predictions.csv"], Console(file=text, width=width))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    assert lines[-3:] == ["", "written to out", "  predictions.csv"]
    return lines[:-3]


def test_one_photograph_has_a_bar_for_each_class() -> None:
    assert printed(Faces([face("sad", 0.9)], PICTURE, "holiday/photo.jpg", "first frame")) == [
        "",
        "photo.jpg: sad 90%",
        f"  sad    90.0% {'█' * 27}",
        f"  happy  10.0% {'█' * 3}",
        "first frame",
        "",
        "1 picture: 1 face",
    ]


def test_some_photographs_have_a_row_for_each_face() -> None:
    lines = printed(
        Faces([face(), face("uncertain", 0.5, "uncertain")], PICTURE, "a.jpg"),
        Faces([Face(status="no_face")], PICTURE, "b[red].jpg"),
        Faces([Face(status="unreadable")], None, "c\x1b[2J.jpg", "empty file"),
    )
    assert [line.split() for line in lines[3:7]] == [
        ["a.jpg", "│", "1", "│", "happy", "│", "75.0%", "│"],
        ["│", "2", "│", "uncertain", "│", "50.0%", "│"],
        ["b[red].jpg", "│", "│", "│", "│", "no", "face"],
        ["c\\x1b[2J.jpg", "│", "│", "│", "│", "empty", "file"],
    ]
    assert lines[-1] == "3 pictures: 2 faces (1 uncertain), 1 without a face, 1 unreadable"


def test_many_photographs_are_summed_up() -> None:
    many = [Faces([face("happy", 0.5 + at / 100)], PICTURE, f"{at}.jpg") for at in range(20)]
    broken = [Faces([Face(status="unreadable")], None, f"{at}.png", "empty file") for at in range(7)]
    lines = printed(*many, Faces([face("sad")], PICTURE, "x.jpg"), *broken)
    assert [line.split() for line in lines[3:5]] == [
        ["happy", "│", "20", "│", "95.2%", "│", "59.5%"],
        ["sad", "│", "1", "│", "4.8%", "│", "75.0%"],
    ]
    assert lines[5:] == [
        "",
        *(f"unreadable: {at}.png: empty file" for at in range(5)),
        "unreadable: and 2 more",
        "",
        "28 pictures: 21 faces, 7 unreadable",
    ]


@pytest.mark.parametrize("width", [20, 40])
def test_a_narrow_terminal_loses_no_name(width: int) -> None:
    text = io.StringIO()
    summary = Summary(CLASSES)
    for name in ("a_photograph_with_a_long_name.jpg", "b.jpg"):
        summary.add(Faces([face()], PICTURE, name))
    summary.print(Path("out"), [], Console(file=text, width=width, force_terminal=True, color_system=None))
    first = "".join(line.partition("│")[0].strip() for line in text.getvalue().splitlines())
    assert "a_photograph_with_a_long_name.jpg" in first
