"""The key of a set of files changes whenever the files do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fer_lightning.data.cache import file_snapshot
from fer_lightning.data.cache.file_snapshot import describe_watch, file_of, take_snapshot, watched_states
from fer_lightning.data.layouts.recognize import read_layout

Plant = Callable[[Path, Mapping[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path, plant: Plant) -> Path:
    names = " ".join(f"{number}.jpg" for number in range(10))
    return plant(tmp_path / "faces", {f"{name}": names for name in ("angry", "happy")})


def key(tree: Path) -> str:
    return take_snapshot(read_layout(tree)).key


def replace_file(victim: Path) -> None:
    """Put another file of the same size in its place, which was not made within the same tick of the clock."""
    other = victim.with_name("new")
    other.write_bytes(b"")
    os.utime(other, (1, 1))
    os.replace(other, victim)


CHANGES: dict[str, Callable[[Path], object]] = {
    "written": lambda victim: victim.write_bytes(b"x"),
    "touched": lambda victim: os.utime(victim, (0, 0)),
    "added": lambda victim: shutil.copy(victim, victim.with_name("99.jpg")),
    "removed": lambda victim: victim.unlink(),
    "renamed": lambda victim: victim.rename(victim.with_name("98.jpg")),
    "replaced": replace_file,
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_a_file_is_noticed(tree: Path, change: str) -> None:
    before = key(tree)
    assert key(tree) == before
    CHANGES[change](tree / "happy/3.jpg")
    assert key(tree) != before


OUTSIDE, WATCHED = "happy/3.jpg", "happy/2.jpg"  # rows 13 and 12 of 20, when rows 0, 6, 12 and 19 are watched


@pytest.mark.parametrize(
    ("change", "victim", "noticed"),
    [
        *((change, OUTSIDE, True) for change in ("added", "removed", "renamed", "replaced")),
        *((change, WATCHED, True) for change in ("written", "touched")),
        *((change, OUTSIDE, False) for change in ("written", "touched")),  # in place: the time of its folder stays
    ],
)
def test_of_very_many_files_the_folders_tell(
    tree: Path, monkeypatch: pytest.MonkeyPatch, change: str, victim: str, noticed: bool
) -> None:
    monkeypatch.setattr(file_snapshot, "MOST_FILES", 4)
    for folder in tree.iterdir():
        os.utime(folder, (1, 1))
    before = key(tree)
    assert len(take_snapshot(read_layout(tree)).states) == 4
    CHANGES[change](tree / victim)
    assert (key(tree) != before) is noticed


def test_files_that_are_watched_reach_from_end_to_end(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_layout(tree)
    for row, path in enumerate(table.paths):
        os.utime(tree / path, ns=(row, row))
    assert watched_states(table)[:, 1].tolist() == list(range(20))
    assert describe_watch(table) == ()
    monkeypatch.setattr(file_snapshot, "MOST_FILES", 4)
    assert watched_states(table)[:, 1].tolist() == [0, 6, 12, 19]
    (note,) = describe_watch(table)
    assert note.startswith("of 20 images, each start checks the folders and 4 files: after writing over a picture")


def test_a_copy_elsewhere_has_another_key(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "copy", copy_function=shutil.copy2)
    assert key(tree) != key(tmp_path / "copy")


def test_state_of_a_csv_is_that_of_the_file(fer_csv: Path) -> None:
    before = key(fer_csv)
    assert len(take_snapshot(read_layout(fer_csv)).states) == 1
    os.utime(fer_csv, (1, 1))
    assert key(fer_csv) != before


def test_state_of_a_csv_whose_name_holds_a_hash(fer_csv: Path) -> None:
    file = fer_csv.rename(fer_csv.with_name("fer#2013#.csv"))
    os.utime(file, (1, 1))
    before = key(file)
    os.utime(file, (2, 2))
    assert key(file) != before


def test_only_paths_of_a_csv_name_a_row(fer_csv: Path, tree: Path) -> None:
    (tree / "happy/a#3.png").touch()
    assert file_of(read_layout(tree), "happy/a#3.png") == "happy/a#3.png"
    assert file_of(read_layout(fer_csv), "fer#2013.csv#17") == "fer#2013.csv"
