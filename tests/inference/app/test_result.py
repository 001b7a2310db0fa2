"""What is shown of a picture, read back from the HTML."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np

from fer_lightning.inference.app.result import LONGEST, SHOWN_FACES, render_faces
from fer_lightning.inference.face import Box, Face, Faces

CROP = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
PICTURE = np.full((100, 200, 3), (200, 100, 50), np.uint8)
HAPPY = Face("happy", 0.75, {"sad": 0.25, "happy": 0.75}, Box(20, 10, 40, 50))


def pictures(html: str) -> list[np.ndarray]:
    """Return the pictures inside a page, BGR."""
    contents = re.findall(r'src="data:image/\w+;base64,([^"]+)"', html)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED) for text in contents]


def test_a_face_has_a_box_and_a_bar_for_each_class_the_longest_first() -> None:
    html = render_faces(Faces([HAPPY], PICTURE, "a.jpg"), crops=CROP)
    assert "left:10.0%;top:10.0%;width:20.0%;height:50.0%" in html
    assert re.findall(r'<th scope="row">(\w+)</th>.*?width:([\d.]+)%.*?<td>(.*?)</td></tr>', html) == [
        ("happy", "75.0", "75.0 %"),
        ("sad", "25.0", "25.0 %"),
    ]
    assert "One face: <b>happy, 75.0 %</b>" in html
    picture, crop = pictures(html)
    assert picture.shape == PICTURE.shape
    assert np.abs(picture[50, 50].astype(int) - (50, 100, 200)).max() < 4  # JPEG, BGR
    assert crop.ndim == 2


def test_a_large_picture_is_shown_smaller_with_its_boxes_in_place() -> None:
    picture = np.zeros((LONGEST * 3, 60), np.uint8)
    html = render_faces(Faces([Face("sad", 1.0, {"sad": 1.0}, Box(30, 0, 30, LONGEST))], picture), crops=CROP)
    assert pictures(html)[0].shape[0] == LONGEST
    assert "left:50.0%;top:0.0%;width:50.0%" in html


def test_long_names_have_a_column_of_their_own_and_labels_stay_in_the_picture() -> None:
    name = "contempt and something else"
    face = Face(name, 1.0, {name: 1.0}, Box(150, 10, 40, 50))
    html = render_faces(Faces([face, HAPPY], PICTURE), crops=np.repeat(CROP, 2, axis=0))
    assert re.findall(r'<col style="width:([\d.]+)em">', html) == ["10", "4.0"]
    assert re.findall(r'class="(fer-box [^"]*)"', html) == ["fer-box ok end", "fer-box ok"]


def test_names_are_escaped() -> None:
    name = "<img src=x onerror=alert(1)>"
    evil = Face(name, 0.5, {name: 0.5}, Box(0, 0, 9, 9))
    for faces in (Faces([evil, evil], PICTURE, name, name), Faces([Face(status="unreadable")], None, name, name)):
        html = render_faces(faces, crops=np.repeat(CROP, 2, axis=0), table=name)
        assert "<img src=x" not in html
        assert "&lt;img src=x onerror" in html


def test_without_a_face_the_page_says_so() -> None:
    assert "No face was found" in render_faces(Faces([Face(status="no_face")], PICTURE), crops=CROP[:0], table="x")
    html = render_faces(Faces([Face(status="unreadable")], None, "a.txt", "not an image"), crops=CROP[:0])
    assert '<p class="fer-problem" role="alert"><b>a.txt</b> cannot be read: not an image</p>' in html


def test_of_many_faces_the_largest_are_shown() -> None:
    crowd = Faces([HAPPY] * (SHOWN_FACES + 1), PICTURE)
    html = render_faces(crowd, crops=np.repeat(CROP, SHOWN_FACES + 1, axis=0))
    assert html.count("<section") == SHOWN_FACES
    assert f"{SHOWN_FACES + 1} faces; the {SHOWN_FACES} largest are shown" in html


def test_heat_maps_are_shown_where_they_were_asked_for() -> None:
    heat = np.zeros((1, 8, 8), np.float32)
    heat[0, :, 4:] = 1
    shown = pictures(render_faces(Faces([HAPPY], PICTURE), crops=np.full_like(CROP, 90), maps=heat))
    assert len(shown) == 3
    blue, green, red = shown[2][70, 130].tolist()
    assert blue < green < red  # orange
    assert len({*shown[2][70, 10].tolist()}) == 1  # grey


def test_the_table_is_inside() -> None:
    html = render_faces(Faces([HAPPY], PICTURE), crops=CROP, table="file,label\nñ.jpg,happy\n")
    (content,) = re.findall(r'download="predictions.csv" href="data:text/csv;charset=utf-8;base64,([^"]+)"', html)
    assert base64.b64decode(content).decode() == "file,label\nñ.jpg,happy\n"
