"""What a user can point at by mistake: one line each, which says what to type instead."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.recognize import read_layout
from fer_lightning.data.table.image_table import ImageTable, select_classes

Plant = Callable[[Path, Mapping[str, str]], Path]
TWO = ("angry", "happy")


def classes(place: str, names: str = "1.jpg 2.jpg") -> dict[str, str]:
    return {f"{place}/{name}": names for name in TWO}


def count(table: ImageTable) -> dict[str, int]:
    return {split: int(per_class.sum()) for split, per_class in table.counts().items()}


def refuse(root: Path, *parts: str, error: type[Exception] = DataError, **options: object) -> None:
    """Check that reading and selecting raises one line that holds all parts."""
    with pytest.raises(error) as caught:
        select_classes(read_layout(root, **options), None, None)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert [part for part in parts if part not in message] == [], message


def test_no_such_root(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"fer2013": "", "other": "", "FACES": ""})
    refuse(tmp_path / "fre2013", f"data.root={tmp_path / 'fre2013'}", "did you mean fer2013?")
    refuse(tmp_path / "faces" / "train", "did you mean FACES?")
    refuse(tmp_path / "xyz", f"{tmp_path} holds FACES, fer2013, other")


def test_empty_root_archives_and_files(tmp_path: Path, plant: Plant) -> None:
    refuse(plant(tmp_path, {"empty": ".hidden"}) / "empty", "is empty", "data.root=")
    refuse(plant(tmp_path, {"zipped": "archive.zip"}) / "zipped", "archive.zip", "unpack")
    refuse(tmp_path / "zipped" / "archive.zip", "is an archive", "data.root=FOLDER")
    refuse(plant(tmp_path, {"text": "a.txt"}) / "text" / "a.txt", "neither a folder nor a CSV")
    refuse(tmp_path / "text", "no images (jpg", "data.root=")


def test_root_too_high(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, classes("fer/images/train") | classes("ck"))
    refuse(tmp_path, "2 data sets", f"data.root={tmp_path / 'ck'} or data.root={tmp_path / 'fer' / 'images'}")


def test_a_home_folder_is_answered_at_once(tmp_path: Path, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, {f"{number}/sub": "" for number in range(50)} | classes("zz/a/b/c/faces"))
    assert len(read_layout(tmp_path)) == 4
    monkeypatch.setattr("fer_lightning.data.layouts.folder_search.MOST_FOLDERS", 60)
    refuse(tmp_path, "no images", "type another data.root=")
    # folders beside the splits may be as many as they like
    assert len(read_layout(plant(tmp_path, classes("train")))) == 4


def test_root_too_low(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, classes("faces/train") | classes("flat"))
    refuse(tmp_path / "faces" / "train", "one split", f"type its parent, data.root={tmp_path / 'faces'}")
    refuse(tmp_path / "faces" / "train" / "angry", "folder of one class", f"data.root={tmp_path / 'faces'}")
    refuse(tmp_path / "flat" / "happy", "folder of one class", f"data.root={tmp_path / 'flat'}")


def test_images_without_class_folders(tmp_path: Path, plant: Plant) -> None:
    refuse(plant(tmp_path, {"": "1.jpg 2.jpg"}), "2 images and no class folders", "happy/")


def test_classes_that_differ_between_splits(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, classes("train") | classes("test") | {"train/sad": "1.jpg", "test/fear": "1.jpg"})
    refuse(tmp_path, "train has no images of fear; test has no images of sad", "data.classes=[angry,happy]")
    assert count(select_classes(read_layout(tmp_path), ["angry", "happy"], None)) == {"train": 4, "test": 4}
    merged = select_classes(read_layout(tmp_path), None, {"negative": ["fear", "sad", "angry"]})
    assert (merged.classes, count(merged)) == (("happy", "negative"), {"train": 5, "test": 5})


def test_empty_class_folder(tmp_path: Path, plant: Plant) -> None:
    empty = "(its folder holds none that can be read)"
    plant(tmp_path, classes("train") | classes("val") | {"train/sad": "1.jpg", "val/sad": ".DS_Store"})
    refuse(tmp_path, f"validation has no images of sad {empty}", "data.classes=[angry,happy]")
    refuse(plant(tmp_path / "flat", classes(".") | {"sad": ""}), f"no images of sad {empty}")
    refuse(plant(tmp_path / "void", {"sad": "", "fear": "a.hif"}), "no images in its class folders", "not fear/a.hif")


def test_one_class_only(tmp_path: Path, plant: Plant) -> None:
    refuse(plant(tmp_path, {"Data/angry": "1.jpg"}), "only one class, angry", "data.root=")


def test_unknown_class_folders(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, classes("train") | {"train/hapyness": "1.jpg", "train/Xyz 2": "1.jpg", "train/logs": "a.txt"})
    refuse(tmp_path, "unknown class folder", "Xyz 2 (and hapyness/)", "'data.aliases={xyz2: CLASS, hapyness: happy}'")
    table = read_layout(tmp_path, aliases={"xyz2": "sad", "hapyness": "happy"})
    assert np.bincount(table.labels).tolist() == [2, 3, 1]
    refuse(plant(tmp_path / "all", {"train/one": "1.jpg", "train/two": "1.jpg"}), "unknown class folder", "two/")
    refuse(plant(tmp_path / "flat", {"one": "1.jpg", "two": "1.jpg"}), "one/, two/", "data.aliases={one: CLASS")


def test_numbered_classes_without_an_order(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {f"train/{code}": "1.jpg" for code in range(7)})
    refuse(
        tmp_path, "data.code_order=fer2013 (0 angry, 1 disgust", "data.code_order=alphabetical", "affectnet (0 neutral"
    )


def test_numbers_that_are_no_codes(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {f"train/{code}": "1.jpg" for code in range(1, 8)})
    refuse(tmp_path, "data.code_order=rafdb (1 surprise, 2 fear", "7: CLASS")
    refuse(tmp_path, "train: class 7 is not a number of data.code_order=fer2013", "7: CLASS", code_order="fer2013")
    names = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
    table = read_layout(tmp_path, aliases={str(code): name for code, name in enumerate(names, start=1)})
    assert table.classes[table.labels[table.paths.tolist().index("train/4/1.jpg")]] == "happy"
    numbers = read_layout(tmp_path, aliases=dict(enumerate(names, start=1)))  # what Hydra makes of the cure
    np.testing.assert_array_equal(numbers.labels, table.labels)


def test_confusing_trees(tmp_path: Path, plant: Plant) -> None:
    refuse(plant(tmp_path / "a", classes("val") | classes("valid")), "val/ and valid/ both mean validation")
    refuse(plant(tmp_path / "b", classes("train") | classes("vaildation")), "not named for a split", "validation")
    refuse(
        plant(tmp_path / "c", {"angry/train": "1.jpg", "angry": "2.jpg", "happy": "1.jpg"}),
        "the folder train/ in it",
        "train/happy",
    )
    refuse(plant(tmp_path / "d", classes(".") | {"angry/sad": "1.jpg"}), "angry is a class folder", "sad/")


def test_unreadable_folder(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, classes("train"))
    (tmp_path / "train" / "sad").symlink_to("sad")  # a link to itself: not even root can follow it
    refuse(tmp_path, f"cannot read the folder {tmp_path / 'train'}")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become nobody")
def test_forbidden_folder(plant: Plant) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = plant(Path(name), classes("train"))
        os.chmod(root, 0o755)
        os.chmod(root / "train" / "angry", 0o700)
        os.seteuid(65534)
        try:
            refuse(root, f"cannot read the folder {root / 'train' / 'angry'}", "Permission denied")
        finally:
            os.seteuid(0)


def test_wrong_settings(tmp_path: Path, plant: Plant) -> None:
    refuse(tmp_path, "data.layout=tree", "auto, folders, people, csv", error=ValueError, layout="tree")
    refuse(tmp_path, "data.code_order=abc", "fer2013, alphabetical", error=ValueError, code_order="abc")
    refuse(plant(tmp_path, classes("train")), "no CSV file", "data.layout=folders", layout="csv")
