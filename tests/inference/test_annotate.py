"""Annotated copies: what is drawn where, and under which names it is written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_lightning.inference.annotate import GREY, PALETTE, AnnotatedCopies, _font, draw_faces
from fer_lightning.inference.face import Box, Face, Faces

CLASSES = ["angry", "happy"]
HAPPY = tuple(bytes.fromhex(PALETTE[1][1:]))


def changed(before: np.ndarray, after: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of what was drawn."""
    rows, columns = np.nonzero((before != after).any(axis=2))
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_box_is_drawn_around_the_face_in_the_colour_of_its_label(grey: int) -> None:
    picture = np.full((400, 600), grey, np.uint8)
    drawn = draw_faces(picture, [Face("happy", 0.75, box=Box(200, 150, 120, 140))], CLASSES)
    before = np.repeat(picture[..., None], 3, axis=2)
    assert (drawn.shape, drawn.dtype) == ((400, 600, 3), np.uint8)
    assert (picture == grey).all()  # the picture itself is as it was
    assert tuple(drawn[200, 200]) == HAPPY
    assert (drawn[160:280, 210:310] == before[160:280, 210:310]).all()  # the face stays free
    left, top, right, bottom = changed(before, drawn)
    assert 195 <= left <= 200
    assert 100 < top < 150  # the label is above
    assert right >= 320
    assert 290 <= bottom <= 295


def test_a_label_has_room_at_every_edge() -> None:
    picture = np.zeros((300, 300, 3), np.uint8)
    for x, y in ((-30, -30), (260, -30), (-30, 260), (260, 260), (120, 0)):
        drawn = draw_faces(picture, [Face("happy", 0.75, box=Box(x, y, 70, 70))], CLASSES)
        full = (drawn == HAPPY).all(axis=2)
        letters = (drawn.max(axis=2) == 0) & np.roll(full, 1, axis=1)
        assert full.sum() > 900, (x, y)  # its whole background
        assert letters.any()


def test_tiny_pictures_are_enlarged_and_long_names_fit() -> None:
    face = Face("überrascht und sehr erfreut, alles in allem", 0.99)
    drawn = draw_faces(np.zeros((40, 30), np.uint8), [face], CLASSES)
    assert drawn.shape == (320, 240, 3)
    assert tuple(drawn[2, 2]) == tuple(bytes.fromhex(GREY[1:]))  # no class of the model
    assert not drawn[60:].any()


def test_type_has_letters_beyond_ascii() -> None:
    missing = _font(40).getmask("\U0010ffff").getbbox()
    assert all(_font(40).getmask(letter).getbbox() != missing for letter in "éñßøλЖ")


def test_copies_keep_their_folders_and_none_replaces_another(
    portrait: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["a/x.jpg", "b/x.jpg", "b/x.gif", "b/x.gif.png", "b/deep/x.webp"]
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(portrait[:64, :64]).save(name)
    copies = AnnotatedCopies(tmp_path / "out", ["a/x.jpg", str(tmp_path / "b"), "b/**/*.webp"], CLASSES)
    for name in names:
        copies.add(Faces([Face("happy", 0.9)], portrait[:64, :64], name))
    copies.add(Faces([Face("happy", 0.9)], portrait[:64, :64], "https://a.org/b?c=../../d.jpg"))
    copies.add(Faces([Face(status="no_face")], portrait[:64, :64], "b/none.jpg"))
    copies.add(Faces([Face(status="unreadable")], None, "b/broken.jpg"))
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    address = written.pop(0)
    assert address.endswith("_a.org_b_c_.._.._d.jpg")
    assert os.sep not in address
    assert written == ["a/x.jpg", "b/deep/x.webp.png", "b/x.gif.png", "b/x.gif_.png", "b/x.jpg"]
    assert copies.written == 6
    assert {Image.open(tmp_path / "out" / name).format for name in written} == {"JPEG", "PNG"}


def test_one_photograph_lies_in_the_folder_itself(tmp_path: Path) -> None:
    assert AnnotatedCopies(tmp_path, ["/far/away/x.jpg"], CLASSES).name("/far/away/x.jpg") == "x.jpg"
    assert AnnotatedCopies(tmp_path, ["/a/x.jpg", "/b/x.jpg"], CLASSES).name("/b/x.jpg") == "b/x.jpg"


def test_a_label_in_letters_that_the_font_lacks_is_the_number_of_its_class(
    caplog: pytest.LogCaptureFixture, portrait: np.ndarray
) -> None:
    classes, box = ["glücklich", "хорошо", "\u9ad8\u5174"], Box(100, 100, 200, 200)
    drawn = draw_faces(portrait, [Face("\u9ad8\u5174", 0.5, box=box)], classes)
    same = draw_faces(portrait, [Face("class 3", 0.5, box=box)], ["", "", "class 3"])
    assert np.array_equal(drawn, same)
    assert "copies of pictures show \u9ad8\u5174 as class 3" in caplog.text
    caplog.clear()
    for label in classes[:2]:
        draw_faces(portrait, [Face(label, 0.5, box=box)], classes)
    assert caplog.text == ""


@pytest.mark.parametrize("letter", ["x", "笑"])
def test_names_as_long_as_a_file_system_takes_are_shortened_and_stay_different(tmp_path: Path, letter: str) -> None:
    names = [f"{begin}{letter * (249 // len(letter.encode()))}.webp" for begin in "ab"]
    copies = AnnotatedCopies(tmp_path / "out", [str(tmp_path)], CLASSES)
    for name in names:
        (tmp_path / name).touch()  # it is a name that the file system takes
        copies.add(Faces([Face("happy", 0.9)], np.zeros((60, 60), np.uint8), str(tmp_path / name)))
    assert len(list((tmp_path / "out").glob("*.webp.png"))) == 2
