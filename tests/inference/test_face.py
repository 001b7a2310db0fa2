"""What a Predictor returns: values that can be compared, stored and looked at."""

from __future__ import annotations

import copy
import pickle
import re
from html.parser import HTMLParser

import numpy as np

from fer_lightning.inference.face import Box, Face, Faces, Predictions

HAPPY = Face("happy", 0.75, {"happy": 0.75, "sad": 0.25}, Box(10, 20, 30, 40))
GREY = np.arange(100 * 200, dtype=np.uint32).astype(np.uint8).reshape(100, 200)


class Page(HTMLParser):
    """What a browser would make of HTML: its text, its tags, the addresses of its images; wrong nesting fails."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.images, self.open = "", list[str](), list[str](), list[str]()
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(str(dict(attrs)["src"]))
        elif tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


def test_faces_are_compared_hashed_and_pickled() -> None:
    same = Face("happy", 0.75, {"happy": 0.75, "sad": 0.25}, Box(10, 20, 30, 40))
    assert (same == HAPPY, hash(HAPPY) == hash(same), len({HAPPY, same})) == (True, True, 1)
    assert Face("happy", 0.75, {"happy": 0.75, "sad": 0.2}, Box(10, 20, 30, 40)) != HAPPY
    faces = Faces([HAPPY], GREY, "a.png", "note", 3, 0.1)
    for again in (pickle.loads(pickle.dumps(faces)), copy.copy(faces), copy.deepcopy(faces)):
        assert again == faces
        assert type(again) is Faces
        np.testing.assert_array_equal(again.picture, GREY)
        assert (again.source, again.note, again.frame, again.time) == ("a.png", "note", 3, 0.1)
    predictions = pickle.loads(pickle.dumps(Predictions([faces])))
    assert (type(predictions), predictions) == (Predictions, [[HAPPY]])


def test_a_notebook_shows_thumbnail_box_and_bars() -> None:
    page = Page(Faces([HAPPY], GREY, "photos/a.png")._repr_html_())
    assert [line for line in page.text.split("\n") if line] == [
        *("happy 75 %", "happy", "75 %", "sad", "25 %", "a.png"),
    ]
    html = Predictions([Faces([HAPPY], GREY)])._repr_html_()
    assert "left:5.00%;top:20.00%;width:15.00%;height:40.00%" in html
    assert re.findall(r"width:(\d+\.\d)%", html) == ["75.0", "25.0"]
    assert "width:192px;height:96px" in html
    (image,) = page.images
    assert image.startswith("data:image/jpeg;base64,")


def test_a_notebook_shows_what_was_not_found_and_why() -> None:
    none = Faces([Face(status="no_face")], GREY, "a.gif", "it holds several frames: the first is used")
    broken = Faces([Face(status="unreadable")], None, "b.png", "empty file (0 bytes)")
    page = Page(Predictions([none, broken])._repr_html_())
    for text in ("no face: it holds several frames: the first is used", "unreadable: empty file (0 bytes)", "b.png"):
        assert f"{text}\n" in page.text
    assert len(page.images) == 1
    assert "no pictures" in Page(Predictions([])._repr_html_()).text


def test_names_are_text_and_nothing_else() -> None:
    evil = "<script>alert(1)</script>\"'&"
    face = Face(evil, 1.0, {evil: 1.0})
    page = Page(Faces([face, face], GREY, evil.replace("/", ""), evil)._repr_html_())
    assert {*page.tags} == {"div", "img", "br"}
    assert page.text.count("alert(1)") == 6


def test_what_a_notebook_stores_is_small() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    many = Predictions([Faces([HAPPY] * 40, noise)] * 1000)
    html = many._repr_html_()
    page = Page(html)
    assert (len(page.images), page.text.count("… and 37 more faces")) == (12, 12)
    assert "… and 988 more\n" in page.text
    assert max(map(len, page.images)) <= 50_000
    assert len(html) < 12 * 65_000
    for shape in ((1, 5000), (5000, 1, 3), (1, 1)):
        assert len(Page(Faces([Face(status="no_face")], np.zeros(shape, np.uint8))._repr_html_()).images) == 1
