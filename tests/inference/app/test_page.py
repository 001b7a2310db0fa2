"""The page in a real browser, which records every request."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.inference.app.conftest import Running

pytestmark = pytest.mark.slow
Open = Callable[..., Any]
OWN = ("data:", "blob:")


@pytest.fixture
def visit(page: Running, browser: Any) -> Iterator[Open]:
    """Return a function that opens the page in a session of its own; none may ask elsewhere, no script may fail."""
    elsewhere, failed, contexts = list[str](), list[str](), list[Any]()

    def opened(width: int = 1280, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(90_000)  # milliseconds; a busy machine
        tab = context.new_page()
        tab.on("request", lambda request: elsewhere.append(request.url))
        tab.on("pageerror", lambda error: failed.append(str(error)))
        tab.on("console", lambda line: failed.append(line.text) if "Refused" in line.text else None)
        tab.goto(page.address)
        tab.get_by_role("heading", name="Facial expressions").wait_for()
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert [url for url in elsewhere if not url.startswith((f"{page.address}/", *OWN))] == []
    assert failed == []
    assert page.files() == []  # no upload stays


def drop(tab: Any, *files: Any) -> None:
    tab.locator("input[type=file]").first.set_input_files(*files)


def bars(tab: Any) -> list[str]:
    return [text.strip() for text in tab.locator(".fer-bars th").all_inner_texts()]


def sideways(tab: Any) -> int:
    return int(tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_a_photograph_has_one_box_seven_bars_and_a_table(
    visit: Open, portrait_file: Path, width: int, scheme: str
) -> None:
    tab = visit(width, scheme)
    drop(tab, portrait_file)
    tab.locator(".fer-card").wait_for()
    (box,) = tab.locator(".fer-box").all()
    place, picture = box.bounding_box(), tab.locator(".fer-frame img").bounding_box()
    centre = (place["x"] + place["width"] / 2 - picture["x"]) / picture["width"]
    assert 0.3 < centre < 0.6  # the face of the portrait
    names = bars(tab)
    assert sorted(names) == ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Download the table (CSV)").click()
    assert download.value.suggested_filename == "predictions.csv"
    (row,) = csv.DictReader(io.StringIO(Path(download.value.path()).read_text()))
    assert (row["file"], row["label"], row["status"]) == ("portrait.jpg", names[0], "ok")
    assert tab.locator(".fer-crops img").count() == 1
    tab.get_by_role("button", name="Show where the network looked").click()
    tab.locator(".fer-crops img").nth(1).wait_for()
    for name in ("The model", "What it can and cannot do", "Use it from a program"):
        tab.get_by_role("button", name=name).click()
    tab.get_by_text("small_cnn").wait_for()
    assert sideways(tab) == 0


def test_settings_apply_to_the_picture_that_is_there(visit: Open, portrait_file: Path) -> None:
    tab = visit()
    drop(tab, portrait_file)
    tab.locator(".fer-card").wait_for()
    tab.get_by_label("The picture is one face").click()
    tab.get_by_text("The picture is taken as one face").wait_for()
    assert tab.locator(".fer-box").count() == 0
    slider = tab.get_by_role("slider")
    slider.focus()
    slider.press("End")  # the keyboard is enough
    tab.locator(".fer-card.uncertain").wait_for()


def file_of(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def test_each_bad_file_has_a_line_and_the_next_photograph_works(visit: Open, portrait_file: Path) -> None:
    tab = visit()
    huge = io.BytesIO()
    Image.new("1", (20_000, 20_000), 1).save(huge, "PNG")
    bad = {
        "not an image of a known format": file_of("notes.jpg", b"hello"),
        "damaged image": file_of("cut.jpg", portrait_file.read_bytes()[:2000]),
        "empty file": file_of("empty.png", b""),
        "not an image but a web page": file_of("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        "20,000 x 20,000 pixels": file_of("huge.png", huge.getvalue()),
    }
    for said, file in bad.items():
        drop(tab, file)
        alert = tab.get_by_role("alert").filter(has_text=said)
        alert.wait_for()
        assert alert.inner_text().startswith(f"{file['name']} cannot be read: ")
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    large = io.BytesIO()
    Image.fromarray(noise).save(large, "PNG")
    drop(tab, file_of("large.png", large.getvalue()))
    tab.get_by_text("exceed the maximum allowed size").wait_for()
    drop(tab, portrait_file)
    tab.locator(".fer-card").wait_for()
    assert "Traceback" not in tab.content()


def test_the_camera_is_followed(visit: Open) -> None:
    tab = visit(400)
    tab.get_by_role("tab", name="Camera").click()
    tab.get_by_role("button", name="Click to Access Webcam").click()
    tab.get_by_role("button", name="capture photo").click()
    tab.locator(".fer-card").wait_for()
    (box,) = tab.locator(".fer-box").all()
    assert box.inner_text().startswith("1 ")
    for _ in range(5):  # frame after frame, and not one every half minute
        seen = tab.locator(".fer-frame img").get_attribute("src")
        changed = "seen => document.querySelector('.fer-frame img').src !== seen"
        tab.wait_for_function(changed, arg=seen, timeout=10_000)
    assert len(bars(tab)) == 7
    assert sideways(tab) == 0
    tab.get_by_role("button", name="capture photo").click()  # now it stops


def test_two_people_see_their_own_pictures(visit: Open, portrait_file: Path) -> None:
    one, other = visit(), visit()
    other.get_by_role("tab", name="Drawn faces").click()
    other.get_by_label("surprise").click()
    drop(one, portrait_file)
    other.get_by_text("surprise, drawn").wait_for()
    one.get_by_text("portrait.jpg").wait_for()
    for tab, name in ((one, "portrait.jpg"), (other, "surprise, drawn")):
        tab.get_by_role("button", name="Show where the network looked").click()
        tab.locator(".fer-crops img").nth(1).wait_for()
        assert tab.locator("figcaption").inner_text().startswith(name)
