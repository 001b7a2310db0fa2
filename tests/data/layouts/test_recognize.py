"""Class folders as users have them. Files are mostly empty here: reading a layout opens no image."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.recognize import read_layout
from fer_lightning.data.table.emotions import EMOTIONS
from fer_lightning.data.table.image_table import ImageTable, select_classes

Plant = Callable[[Path, Mapping[str, str]], Path]
TWO = ("angry", "happy")


def classes(place: str, names: str = "1.jpg 2.jpg") -> dict[str, str]:
    return {f"{place}/{name}": names for name in TWO}


def count(table: ImageTable) -> dict[str, int]:
    return {split: int(per_class.sum()) for split, per_class in table.counts().items()}


def test_train_and_validation_in_a_wrapper(kaggle_tree: Path) -> None:
    table = read_layout(kaggle_tree)
    assert table.root == kaggle_tree / "images"
    assert table.source == "folders"
    assert table.classes == EMOTIONS
    assert count(table) == {"train": 21, "validation": 14}
    assert table.explanation == (
        f"found train/ and validation/ under {kaggle_tree / 'images'}: 21 train, 14 validation images, 7 classes"
    )
    assert table.notes == ()
    assert all((table.root / path).is_file() for path in table.paths)
    assert all(path.split("/")[1] == EMOTIONS[label] for path, label in zip(table.paths, table.labels, strict=True))
    assert (table.labels.dtype, table.rows.dtype) == (np.uint8, np.int64)
    np.testing.assert_array_equal(table.rows, np.arange(35))


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        ("train val", "train validation"),
        ("Train Valid", "train validation"),
        ("training dev", "train validation"),
        ("TRAIN test", "train test"),
        ("train validation test", "train validation test"),
        ("train_set test_set", "train test"),
        ("train", "train"),
    ],
)
def test_names_of_splits(tmp_path: Path, names: str, splits: str, plant: Plant) -> None:
    for name in names.split():
        plant(tmp_path, classes(name))
    assert count(read_layout(tmp_path)) == dict.fromkeys(splits.split(), 4)


@pytest.mark.parametrize("wrapper", ["images", "archive/Data", "a/b/c/d/e", "fer2013/versions/1"])
@pytest.mark.parametrize("inside", ["train", ""])
def test_wrappers_and_the_same_paths_from_wherever_one_points(
    tmp_path: Path, wrapper: str, inside: str, plant: Plant
) -> None:
    plant(tmp_path, classes(f"{wrapper}/{inside}"))
    paths = [f"{inside}/{name}/{file}".lstrip("/") for name in TWO for file in ("1.jpg", "2.jpg")]
    for root in (tmp_path, tmp_path / wrapper.split("/")[0], tmp_path / wrapper):
        table = read_layout(root)
        assert (table.root, table.paths.tolist()) == (tmp_path / wrapper, paths)


def test_wrapper_inside_a_split(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, classes("train/train") | classes("test/test"))
    table = read_layout(tmp_path)
    assert count(table) == {"train": 4, "test": 4}
    assert table.paths[0] == "train/train/angry/1.jpg"


def test_official_split_from_file_names(official_tree: Path) -> None:
    table = read_layout(official_tree)
    assert count(table) == {"train": 21, "validation": 14, "test": 7}
    prefix = {"train": "Training_", "validation": "PublicTest_", "test": "PrivateTest_"}
    for path, split in zip(table.paths, table.splits, strict=True):
        assert path.rpartition("/")[2].startswith(prefix[split])
    assert "official split" in table.notes[0]


@pytest.mark.parametrize(("usage", "split"), [("PublicTest", "validation"), ("PrivateTest", "test")])
def test_one_of_the_official_test_splits_alone(tmp_path: Path, usage: str, split: str, plant: Plant) -> None:
    plant(tmp_path, classes("train", "Training_1.jpg") | classes("test", f"{usage}_7.jpg"))
    table = read_layout(tmp_path)
    assert count(table) == {"train": 2, split: 2}
    select_classes(table, None, None)


def test_mixed_official_names_are_no_official_split(tmp_path: Path, plant: Plant) -> None:
    names = "Training_1.jpg PublicTest_2.jpg PrivateTest_3.jpg"
    table = read_layout(plant(tmp_path, classes("train", names) | classes("test", names)))
    assert count(table) == {"train": 6, "test": 6}
    assert "mixed" in table.notes[0]


def test_a_validation_folder_goes_before_file_names(tmp_path: Path, plant: Plant) -> None:
    for split in ("train", "validation", "test"):
        plant(tmp_path, classes(split, "PublicTest_1.jpg"))
    assert count(read_layout(tmp_path)) == {"train": 2, "validation": 2, "test": 2}


@pytest.mark.parametrize("point_at", ["", "images"])
def test_nested_second_copy_is_left_out_and_said(tmp_path: Path, point_at: str, plant: Plant) -> None:
    for place in ("images", "images/images"):
        plant(tmp_path, classes(f"{place}/train") | classes(f"{place}/validation"))
    table = read_layout(tmp_path / point_at)
    assert table.root == tmp_path / "images"
    assert count(table) == {"train": 4, "validation": 4}
    assert table.notes == ("images/ left out: a second copy of the same 8 images",)


def test_nested_copy_of_a_flat_tree_and_one_that_differs(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, classes("Data") | classes("Data/Data"))
    assert read_layout(tmp_path).notes == ("Data/ left out: a second copy of the same 4 images",)
    plant(tmp_path, {"Data/Data/angry": "99.jpg"})
    table = read_layout(tmp_path)
    assert count(table) == {"": 4}
    assert table.notes == ("Data/ left out: a copy or another data set, with 5 images",)


def test_flat_tree_of_misspelt_names(flat_tree: Path) -> None:
    table = read_layout(flat_tree)
    assert (table.root, table.classes, count(table)) == (flat_tree / "Data", EMOTIONS, {"": 70})
    assert (
        table.explanation == f"found 7 class folders without a split under {flat_tree / 'Data'}: 70 images, 7 classes"
    )
    assert table.paths[-1] == "Suprise/9.png"


def test_system_files_and_odd_suffixes(tmp_path: Path, plant: Plant) -> None:
    images = "a.JPG b.jpeg c.jfif d.PNG e.bmp f.webp g.gif h.tif i.TIFF"
    plant(tmp_path, classes("Data", f"{images} .DS_Store Thumbs.db desktop.ini ._a.JPG notes.txt labels.npy"))
    plant(tmp_path, {"__MACOSX/Data/angry": "a.jpg", ".git/train/angry": "a.jpg", "Data/angry/@eaDir": "a.jpg"})
    table = read_layout(tmp_path)
    assert count(table) == {"": 18}
    assert table.notes == (
        "left out, as they are no images of a known kind: 2 .npy (angry/labels.npy), 2 .txt (angry/notes.txt)",
    )


def test_order_is_by_split_class_and_natural_name(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, classes("test", "x10.jpg x9.jpg x1.png x01.jpg") | classes("val", "2.jpg 11.jpg"))
    expected = [f"val/{name}/{file}" for name in TWO for file in ("2.jpg", "11.jpg")]
    expected += [f"test/{name}/{file}" for name in TWO for file in ("x01.jpg", "x1.png", "x9.jpg", "x10.jpg")]
    assert read_layout(tmp_path).paths.tolist() == expected


def test_known_eighth_class_and_own_aliases(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, classes(".") | {"Contempt": "1.jpg", "very bored": "1.jpg", "0_Yawning": "1.jpg"})
    table = read_layout(tmp_path, aliases={"verybored": "bored", "yawning": "calm"})
    assert table.classes == ("angry", "happy", "neutral", "bored", "contempt")
    assert count(table) == {"": 7}


def test_two_folders_of_one_class_are_merged(tmp_path: Path, plant: Plant) -> None:
    table = read_layout(plant(tmp_path, classes("train") | {"train/Anger": "7.jpg"}))
    assert np.bincount(table.labels).tolist() == [3, 2]
    assert table.notes == (f"Anger/ and angry/ in {tmp_path / 'train'} both mean angry: merged",)


@pytest.mark.parametrize(("order", "fourth"), [("fer2013", "sad"), ("alphabetical", "neutral")])
def test_numbered_classes_in_a_given_order(tmp_path: Path, order: str, fourth: str, plant: Plant) -> None:
    plant(tmp_path, {f"train/{code}": "1.jpg" for code in range(7)})
    table = read_layout(tmp_path, code_order=order)
    assert table.classes == EMOTIONS
    assert table.classes[table.labels[table.paths.tolist().index("train/4/1.jpg")]] == fourth


def test_folders_within_a_class_are_read(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, classes(".") | {"angry/subject2/b": "3.jpg", "happy/happy2": "4.jpg"})
    (tmp_path / "angry" / "loop").symlink_to(tmp_path / "angry")
    assert read_layout(tmp_path).paths.tolist() == [
        *("angry/1.jpg", "angry/2.jpg", "angry/subject2/b/3.jpg"),
        *("happy/1.jpg", "happy/2.jpg", "happy/happy2/4.jpg"),
    ]


@pytest.mark.parametrize("names", ["person01 person02", "S005 S010 S011", "1 2", "Subject-A Subject-B", "KA KL"])
@pytest.mark.parametrize("splits", ["", "train test"])
def test_classes_below_people(tmp_path: Path, names: str, splits: str, plant: Plant) -> None:
    for place in splits.split() or [""]:
        for name in names.split():
            plant(tmp_path, classes(f"{place}/{name}".lstrip("/")))
    (tmp_path / (splits.split() or [""])[0] / names.split()[0] / "sad").mkdir()  # not everybody shows everything
    numbered = names[-1].isdecimal()
    table = read_layout(tmp_path, "auto" if numbered else "people", aliases={"sad": None})
    assert count(table) == dict.fromkeys(splits.split() or [""], 4 * len(names.split()))
    assert table.classes == TWO
    if not splits:
        assert f"2 classes of {len(names.split())} people without a split" in table.explanation
    if not numbered:
        with pytest.raises(DataError, match=r"data sets: type data\.root=.*or data\.layout=people"):
            read_layout(tmp_path)


def test_what_is_left_out_is_said(tmp_path: Path, plant: Plant) -> None:
    plant(
        tmp_path, classes("train") | {"test": "1.jpg 2.jpg", "val": "", "extra": "1.jpg", "train": "x.png", "docs": ""}
    )
    table = read_layout(tmp_path)
    assert count(table) == {"train": 4}
    assert table.notes == (
        f"1 image beside the class folders of {tmp_path / 'train'} left out",
        "test/ left out: 2 images without class folders in it",
        "val/ left out: no images in it",
        "extra/ left out: neither a split nor a class, 1 image",
    )


def test_relative_home_and_linked_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Plant) -> None:
    plant(tmp_path, classes("faces/train"))
    (tmp_path / "link").symlink_to("faces")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_layout(Path("faces")).root == read_layout(Path("~/faces")).root == tmp_path / "faces"
    assert read_layout(tmp_path).root == tmp_path / "faces"  # and not twice, by way of the link
    assert read_layout(Path("link")).root == tmp_path / "link"


@pytest.mark.parametrize(
    ("layout", "expected", "note"),
    [
        ("validation", {"train": 28, "validation": 28}, "second copy of the same 56"),
        ("test", {"train": 28, "validation": 28}, "official split"),
        ("flat", {"": 56}, ""),
    ],
)
def test_layouts_of_fer2013(
    shared_fer2013: Path, tmp_path: Path, layout: str, expected: dict[str, int], note: str
) -> None:
    program = [sys.executable, shared_fer2013 / "expand.py", "--limit", "4", "--layout", layout, "--nested", tmp_path]
    subprocess.run(program, check=True, capture_output=True)
    table = select_classes(read_layout(tmp_path), None, None)
    assert (count(table), table.classes) == (expected, EMOTIONS)
    assert [note in remark for remark in table.notes] == [True] * bool(note)


def test_each_folder_is_listed_once_and_only_folders_are_looked_at(
    tmp_path: Path, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = " ".join(f"{number}.jpg" for number in range(100))
    plant(tmp_path, {f"{split}/{name}": names for split in ("train", "test") for name in EMOTIONS})
    listed: list[str] = []
    looked_at: list[str] = []
    scan, stat = os.scandir, os.stat
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(str(folder)) or scan(folder))
    monkeypatch.setattr(os, "stat", lambda path, **options: looked_at.append(str(path)) or stat(path, **options))
    assert len(read_layout(tmp_path)) == 1400
    assert max(listed.count(folder) for folder in listed) == 1  # by search, sniffing and reading together
    assert not [path for path in looked_at if path.endswith(".jpg")]
    assert len(set(listed)) == 17  # the root, two splits and seven classes in each


@pytest.mark.parametrize("split", ["", "train/", "archive/Train/"])
@pytest.mark.parametrize("tree", ["cats/persian cats/siamese dogs/pug", "cats dogs/pug/2020", "cats/1 dogs"])
def test_own_classes_of_nested_folders(tmp_path: Path, plant: Plant, split: str, tree: str) -> None:
    plant(tmp_path, {f"{split}{place}": "1.jpg 2.jpg" for place in tree.split()})
    table = read_layout(tmp_path, own_names=True)
    assert table.classes == ("cats", "dogs")
    assert len(table) == 2 * len(tree.split())


def test_own_classes_twice_are_two_data_sets(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {f"{place}/{name}": "1.jpg" for place in ("kaggle", "backup") for name in ("cats", "dogs")})
    with pytest.raises(DataError, match="holds 2 data sets"):
        read_layout(tmp_path, own_names=True)
    assert read_layout(tmp_path, layout="people", own_names=True).classes == ("cats", "dogs")


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is not None, reason="HEIC is read here")
def test_heic_is_counted_and_how_to_read_it_said(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"happy": "1.HEIC", "sad": "1.heic 2.heic"})
    with pytest.raises(DataError, match=r"not happy/1\.HEIC; pip install \"fer_lightning\[heic\]\" to read HEIC"):
        read_layout(tmp_path)
    plant(tmp_path, {"happy": "1.jpg 2.txt", "sad": "1.jpg"})
    (note,) = read_layout(tmp_path).notes
    assert '3 .heic (happy/1.HEIC), 1 .txt (happy/2.txt); pip install "fer_lightning[heic]" to read HEIC' in note
