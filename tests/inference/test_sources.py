"""What is found behind the names that people type."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.inference.sources import Sources

Plant = Callable[[Path, Mapping[str, str]], Path]


def found(*names: object, written: Path | None = None) -> list[str]:
    return [source.file for source in Sources.named([*map(str, names)], written)]


@pytest.fixture
def here(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with photographs in folders, other files, links in circles and results of earlier runs."""
    files = {
        "album": "b10.jpg b2.JPG .hidden.jpg Thumbs.db readme notes.txt",
        "album/deep/er": "c.png",
        "album/.cache": "x.jpg",
        "outputs/predict/today/annotated": "b2.JPG",
        "outputs/predict/today/.hydra": "config.yaml",
        "empty": "",
    }
    monkeypatch.chdir(plant(tmp_path, files))
    os.symlink(".", "album/deep/loop")
    return tmp_path


def test_folders_are_searched_in_the_order_of_people(here: Path) -> None:
    expected = ["album/b2.JPG", "album/b10.jpg", "album/deep/er/c.png"]
    assert found("album") == found("album/") == expected
    assert found(".") == expected  # without the copies of an earlier run
    assert found(here / "album") == [str(here / name) for name in expected]
    sources = Sources.named(".")
    list(sources)
    assert sources.left_out == {"without a suffix": 1, ".txt": 1, "results of fer_lightning": 1}
    list(sources)
    assert sources.left_out[".txt"] == 1  # counted anew


def test_a_folder_that_is_named_is_searched_whatever_it_is(here: Path) -> None:
    assert found("outputs/predict/today/annotated") == ["outputs/predict/today/annotated/b2.JPG"]
    assert found("album/.cache", "empty") == ["album/.cache/x.jpg"]
    assert found(".", written=Path("album/deep")) == ["album/b2.JPG", "album/b10.jpg"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("album/*.jpg", ["album/b10.jpg"]),
        ("album/b[0-9]*", ["album/b2.JPG", "album/b10.jpg"]),
        ("album/d*", ["album/deep/er/c.png"]),  # a folder
        ("**/c.png", ["album/deep/er/c.png"]),  # once, however the link leads there
        ("album/**/*", ["album/b2.JPG", "album/b10.jpg", "album/deep/er/c.png"]),
        ("album/**/er/**/?.png", ["album/deep/er/c.png"]),
        ("./**/b*", ["album/b2.JPG", "album/b10.jpg"]),
    ],
)
def test_globs(pattern: str, names: list[str], here: Path) -> None:
    assert found(pattern) == names


def test_a_name_is_taken_as_it_is_before_it_is_a_glob(here: Path) -> None:
    for name in ("a[1].jpg", "a1.jpg", "what?.jpg", "x,y=z.jpg"):
        Path(name).touch()
    assert found("a[1].jpg", "what?.jpg", "x,y=z.jpg") == ["a[1].jpg", "what?.jpg", "x,y=z.jpg"]


def test_one_name_is_read_once_and_what_was_typed_keeps_its_order(here: Path) -> None:
    assert found("album/b10.jpg", "album/b2.JPG", "album/b10.jpg") == ["album/b10.jpg", "album/b2.JPG"]
    assert found("album/deep", "album") == ["album/deep/er/c.png", "album/b2.JPG", "album/b10.jpg"]


def test_a_folder_that_cannot_be_read_says_so(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def locked(path: str) -> object:  # root, as which tests may run, reads everything
        if path == "album/deep":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    *_, last = Sources.named("album")
    (picture,) = last
    assert (picture.pixels, picture.source, picture.note) == (None, "album/deep", "cannot be opened: Permission denied")


def test_what_is_not_there_is_named_with_what_is(here: Path) -> None:
    with pytest.raises(DataError, match=r"^there is no albun; did you mean album\?; there is no album/\*\.gif$"):
        found("albun", "album", "album/*.gif")
    with pytest.raises(DataError, match=r"there is no none4; and 3 others are missing$"):
        found(*(f"none{number}" for number in range(8)))
    with pytest.raises(ConfigError, match="no source is named"):
        found("", " ")
