"""What was read once is opened again, until anything about it has changed; and nothing fails where that cannot be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from fer_lightning.core.errors import DataError
from fer_lightning.data.cache.table_file import read_table, write_table
from fer_lightning.data.cache.table_index import TableIndex
from fer_lightning.data.layouts.recognize import read_layout
from fer_lightning.data.source import Source, read_source
from fer_lightning.data.synthetic.dataset import write_tree
from fer_lightning.data.table.image_table import ImageTable, digest_table, select_classes

LAYOUTS = ("train_validation", "official", "nested", "wrapped", "flat", "csv", "icml")


def age(root: Path) -> None:
    """Make all files and folders a day old: a fresh table is not kept."""
    yesterday = time.time() - 86_400
    for path in [root, *root.rglob("*")]:
        os.utime(path, (yesterday, yesterday))


def read(root: Path, cache_dir: Path, **options: object) -> Source:
    settings = {"layout": "auto", "aliases": None, "code_order": None, "on_error": "raise"} | options
    return read_source(root, image_size=24, channels=1, cache_dir=cache_dir, **settings)  # type: ignore[arg-type]


def facts(table: ImageTable) -> tuple[object, ...]:
    names = ("root", "source", "classes", "explanation", "notes", "empty")
    columns = (table.paths.tolist(), table.labels.tolist(), table.splits.tolist(), table.rows.tolist())
    return (*(getattr(table, name) for name in names), *columns, digest_table(table))


def remembered(cache_dir: Path) -> list[Path]:
    return sorted((cache_dir / "tables").glob("*"))


def index(root: Path, cache_dir: Path) -> TableIndex:
    return TableIndex(cache_dir, root, "auto", None, None)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_tree(tmp_path / "faces", layout="train_validation", per_class=2, image_size=24)
    age(tmp_path / "faces")
    return tmp_path / "faces"


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that fills with the folders that are listed and the CSV files that are parsed."""
    calls: list[str] = []
    scan, parse = os.scandir, pd.read_csv
    monkeypatch.setattr(os, "scandir", lambda folder: calls.append(str(folder)) or scan(folder))
    monkeypatch.setattr(pd, "read_csv", lambda path, **options: calls.append(str(path)) or parse(path, **options))
    return calls


@pytest.mark.parametrize("layout", LAYOUTS)
def test_second_start_lists_and_parses_nothing(tmp_path: Path, listed: list[str], layout: str) -> None:
    root, cache_dir = tmp_path / "faces", tmp_path / "cache"
    write_tree(root, layout=layout, per_class=2, image_size=24)
    age(root)
    first = read(root, cache_dir)
    assert [path for path in listed if path.startswith(str(root))]
    assert len(remembered(cache_dir)) == 1
    listed.clear()
    second = read(root, cache_dir)
    assert [path for path in listed if path.startswith(str(root))] == []
    assert facts(second.table) == facts(first.table) == facts(read_layout(root))
    assert (second.fingerprint, second.notes) == (first.fingerprint, first.notes)
    np.testing.assert_array_equal(second.images, first.images)
    np.testing.assert_array_equal(second.digests, first.digests)
    chosen = select_classes(second.table, ["happy", "sad"], None)
    assert facts(chosen) == facts(select_classes(first.table, ["happy", "sad"], None))


def write_csv(root: Path) -> None:
    write_tree(root, layout="csv", per_class=1, image_size=24)


CHANGES: dict[str, Callable[[Path], object]] = {
    "file added": lambda root: shutil.copy(root / "train/happy/3.png", root / "train/happy/99.png"),
    "file removed": lambda root: (root / "train/happy/3.png").unlink(),
    "file renamed": lambda root: (root / "train/happy/3.png").rename(root / "train/happy/98.png"),
    "file replaced": lambda root: os.replace(root / "train/happy/10.png", root / "train/happy/3.png"),
    "file written in place": lambda root: shutil.copyfile(root / "train/sad/5.png", root / "train/happy/3.png"),
    "class removed": lambda root: shutil.rmtree(root / "train/happy"),
    "class renamed": lambda root: (root / "validation/happy").rename(root / "validation/joy"),
    "split added": lambda root: shutil.copytree(root / "validation", root / "test"),
    "stranger added": lambda root: shutil.copytree(root / "train", root / "more/train"),
    "csv added": write_csv,
    "csv in a split": lambda root: (root / "train/notes.csv").write_text("emotion,pixels\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_noticed(tree: Path, tmp_path: Path, change: str) -> None:
    before = read(tree, tmp_path / "cache")
    assert len(remembered(tmp_path / "cache")) == 1
    CHANGES[change](tree)
    after, anew = read(tree, tmp_path / "cache"), read(tree, tmp_path / "other cache")
    assert facts(after.table) == facts(anew.table)
    assert after.fingerprint == anew.fingerprint
    np.testing.assert_array_equal(after.images, anew.images)
    if change != "csv in a split":  # changes nothing, as reading anew has found out
        assert (before.fingerprint, before.notes, before.table.notes) != (
            after.fingerprint, after.notes, after.table.notes
        )  # fmt: skip


def test_csv_beside_class_folders_is_watched_too(tree: Path, tmp_path: Path) -> None:
    file = tree / "fer2013.csv"
    file.write_text("a,b\n1,2\n")
    age(tree)
    assert read(tree, tmp_path / "cache").table.notes == ()
    file.write_text("emotion,pixels\n")  # in place: the time of its folder stays
    os.utime(tree, (1, 1))
    age(tree)
    assert "fer2013.csv not" in read(tree, tmp_path / "cache").table.notes[0]


def test_changed_csv_is_read_again(tmp_path: Path) -> None:
    write_tree(tmp_path / "faces", layout="csv", per_class=2, image_size=24)
    age(tmp_path / "faces")
    file = tmp_path / "faces" / "fer2013.csv"
    before = read(file, tmp_path / "cache")
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-1]) + "\n")
    assert len(read(file, tmp_path / "cache").table) == len(before.table) - 1


@pytest.mark.parametrize("fresh", ["train/happy", "train/happy/3.png"])
def test_what_changed_just_now_is_not_remembered_yet(tree: Path, tmp_path: Path, fresh: str) -> None:
    os.utime(tree / fresh)
    read(tree, tmp_path / "cache")
    assert remembered(tmp_path / "cache") == []
    age(tree)
    read(tree, tmp_path / "cache")
    assert len(remembered(tmp_path / "cache")) == 1


def test_each_setting_has_its_own_table(tree: Path, tmp_path: Path) -> None:
    (tree / "train/happy").rename(tree / "train/glee")
    age(tree)
    for meaning in ("happy", "sad"):
        classes = read(tree, tmp_path / "cache", aliases={"glee": meaning, 7: "bored"}).table.classes
        assert ("happy" in classes, len(remembered(tmp_path / "cache"))) == (True, 1 if meaning == "happy" else 2)
        counts = read(tree, tmp_path / "cache", aliases={"glee": meaning, 7: "bored"}).table.counts()["train"]
        assert counts[classes.index("sad")] == (2 if meaning == "happy" else 4)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "cut by one": lambda content: content[:-1],
    "other file": lambda content: b"x" * len(content),
    "paths only": lambda content: content[-40:],
    "no record": lambda content: content.replace(b'"record"', b'"rekord"'),
    "other columns": lambda content: content.replace(b'"labels"', b'"labelz"'),
    "other facts": lambda content: content.replace(b'"notes"', b'"motes"'),
    "labels out of range": lambda content: content.replace(b'"classes": ["angry", ', b'"classes": [         '),
    "too many rows": lambda content: content.replace(b'["<u4", ', b'["<u8", '),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_table_is_read_again_and_mended(tree: Path, tmp_path: Path, listed: list[str], damage: str) -> None:
    first = read(tree, tmp_path / "cache")
    (file,) = remembered(tmp_path / "cache")
    content = file.read_bytes()
    damaged = DAMAGES[damage](content)
    assert damaged != content
    file.write_bytes(damaged)
    assert facts(read(tree, tmp_path / "cache").table) == facts(first.table)
    listed.clear()
    read(tree, tmp_path / "cache")
    assert str(tree) not in listed


STRANGE: dict[str, object] = {
    "no record": {},
    "a number for all": {"seen": 5, "key": "k"},
    "a number for a state": {"seen": {"/": 5}, "key": "k"},
    "a list": ["seen", "key"],
    "nothing": None,
    "no states": {"seen": {}, "key": "k"},
}


@pytest.mark.parametrize("record", STRANGE)
def test_strange_record_is_not_believed(tree: Path, tmp_path: Path, record: str) -> None:
    first = read(tree, tmp_path / "cache")
    (file,) = remembered(tmp_path / "cache")
    table, _ = read_table(file)
    write_table(file.with_name("other"), table, STRANGE[record])  # type: ignore[arg-type]
    os.replace(file.with_name("other"), file)
    assert index(tree, tmp_path / "cache").find() is None
    assert facts(read(tree, tmp_path / "cache").table) == facts(first.table)


def test_nothing_fails_where_nothing_can_be_remembered(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tables").write_text("in the way")
    first, second = read(tree, tmp_path / "cache"), read(tree, tmp_path / "cache")
    assert facts(first.table) == facts(second.table)


def test_mended_image_is_decoded_again_though_others_are_watched(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tree / "train/happy/3.png"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:60])
    age(tree)
    with pytest.raises(DataError, match=r"happy/3\.png"):
        read(tree, tmp_path / "cache")
    assert len(read(tree, tmp_path / "cache", on_error="skip").skipped) == 1
    monkeypatch.setattr("fer_lightning.data.cache.file_snapshot.MOST_FILES", 2)  # the first and the last
    with pytest.raises(DataError, match=r"happy/3\.png"):
        read(tree, tmp_path / "cache")
    victim.write_bytes(whole)
    source = read(tree, tmp_path / "cache")
    assert "28 images, each start checks the folders and 2 files" in source.notes[0]
    row = source.table.paths.tolist().index("train/happy/3.png")
    np.testing.assert_array_equal(source.images[row, 0], cv2.imread(str(victim), cv2.IMREAD_GRAYSCALE))


def test_processes_that_remember_at_once(tree: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from fer_lightning.data.source import read_source\n"
        "options = dict(aliases=None, code_order=None, image_size=24, channels=1, on_error='raise')\n"
        "print(len(read_source(Path(sys.argv[1]), 'auto', cache_dir=Path(sys.argv[2]), **options).table))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, tree, tmp_path / "cache"], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in started] == ["28"] * 3
    assert [path.suffix for path in remembered(tmp_path / "cache")] == [""]  # whole, and nothing half-written
    assert facts(read(tree, tmp_path / "cache").table) == facts(read_layout(tree))


def test_links_to_nothing_may_come_to_life(tree: Path, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    (tree / "train/happy/more").symlink_to(drive)
    os.utime(tree / "train/happy", (1, 1))
    assert len(read(tree, tmp_path / "cache").table) == 28
    assert remembered(tmp_path / "cache") == []
    shutil.copytree(tree / "train/sad", drive)
    age(drive)
    assert len(read(tree, tmp_path / "cache").table) == 30
    assert len(remembered(tmp_path / "cache")) == 1


def test_links_to_files_are_remembered(tree: Path, tmp_path: Path) -> None:
    (tree / "train/sad/5.png").rename(tmp_path / "5.png")
    (tree / "train/sad/5.png").symlink_to(tmp_path / "5.png")
    age(tree)
    read(tree, tmp_path / "cache")
    assert len(remembered(tmp_path / "cache")) == 1
