"""fer2013.csv and its kin, well formed and not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.csv_pixels import read_csv_pixels
from fer_lightning.data.layouts.recognize import read_layout
from fer_lightning.data.table.emotions import EMOTIONS, FER2013_CODES
from fer_lightning.data.table.image_table import select_classes

GREY = " ".join(["128"] * 16)


def write(path: Path, *rows: str, header: str = "emotion,pixels,Usage") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


@pytest.mark.parametrize("point_at", ["fer2013.csv", ".", ".."])
def test_labels_splits_and_pixels(fer_csv: Path, point_at: str) -> None:
    table = select_classes(read_layout(fer_csv.parent / point_at), None, None)
    assert (table.source, table.root, table.classes) == ("csv", fer_csv.parent, EMOTIONS)
    assert {split: per_class.tolist() for split, per_class in table.counts().items()} == {
        "train": [2] * 7,
        "validation": [1] * 7,
        "test": [1] * 7,
    }
    assert table.explanation == (
        f"found fer2013.csv in {fer_csv.parent}: 14 train, 7 validation, 7 test images, 7 classes"
    )
    lines = fer_csv.read_text().splitlines()[1:]
    pixels = read_csv_pixels(fer_csv)
    assert (pixels.shape, pixels.dtype) == ((28, 48, 48), np.uint8)
    usages = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}
    for path, label, split in zip(table.paths, table.labels, table.splits, strict=True):
        name, row = path.split("#")
        code, text, usage = lines[int(row)].split(",")
        assert (name, usage, FER2013_CODES[int(code)]) == ("fer2013.csv", usages[split], EMOTIONS[label])
        assert pixels[int(row)].ravel().tolist() == [int(value) for value in text.split()]


def test_other_order_blanks_quotes_and_windows_line_ends(fer_csv: Path, tmp_path: Path) -> None:
    rows = [line.split(",") for line in fer_csv.read_text().splitlines()[1:]]
    lines = ["emotion, Usage, pixels", *(f'{code}, {usage},"{pixels}"' for code, pixels, usage in rows), "", ""]
    path = tmp_path / "other" / "icml_face_data.csv"
    path.parent.mkdir()
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    table, plain = read_layout(path), read_layout(fer_csv)
    np.testing.assert_array_equal(table.labels, plain.labels)
    np.testing.assert_array_equal(table.splits, plain.splits)
    np.testing.assert_array_equal(read_csv_pixels(path), read_csv_pixels(fer_csv))


def test_training_file_without_usage(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", f"4,{GREY}", f"6,{GREY}", f"0,{GREY}", header="emotion,pixels")
    write(tmp_path / "test.csv", GREY, header="pixels")
    table = read_layout(tmp_path)
    assert (table.classes, set(table.splits)) == (("angry", "neutral", "sad"), {""})
    assert table.paths.tolist() == ["train.csv#2", "train.csv#1", "train.csv#0"]
    assert "without a Usage column (no split)" in table.explanation
    assert read_csv_pixels(path).shape == (3, 4, 4)
    assert read_layout(tmp_path, code_order="alphabetical").classes == ("angry", "neutral", "surprise")


def test_which_of_several_files(tmp_path: Path) -> None:
    rows = (f"0,{GREY},Training", f"1,{GREY},Training")
    write(tmp_path / "icml_face_data.csv", *rows)
    write(tmp_path / "fer2013new.csv", "Training,fer0.png,4", header="Usage,Image name,neutral")
    assert read_layout(tmp_path).notes == ()
    write(tmp_path / "fer2013.csv", *rows)
    table = read_layout(tmp_path)
    assert table.paths[0] == "fer2013.csv#0"
    assert table.notes == ("fer2013.csv is read, icml_face_data.csv beside it is not: the same faces",)
    write(tmp_path / "more" / "mine.csv", *rows)
    assert read_layout(tmp_path / "more").paths[0] == "mine.csv#0"
    with pytest.raises(DataError, match=r"several CSV files of faces.*fer2013\.csv or .*mine\.csv"):
        read_layout(tmp_path)


def test_class_folders_go_before_a_csv(kaggle_tree: Path, fer_csv: Path) -> None:
    (kaggle_tree / "fer2013.csv").write_bytes(fer_csv.read_bytes())
    table = read_layout(kaggle_tree)
    assert table.source == "folders"
    assert table.notes == ("class folders are used, fer2013.csv not; data.layout=csv takes the CSV",)
    assert read_layout(kaggle_tree, "csv").source == "csv"
    with pytest.raises(DataError, match=r"holds no class folders but fer2013\.csv; type data\.layout=csv"):
        read_layout(fer_csv.parent, "folders")
    with pytest.raises(DataError, match=r"data\.layout=folders needs a folder; type data\.layout=csv"):
        read_layout(fer_csv, "folders")


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (
            "code,pixels",
            [f"0,{GREY}"],
            r"no column emotion \(columns found: pixels, code\): name the one",
        ),
        ("emotion,image", ["0,a.jpg"], r"no column pixels \(columns found: emotion, image\): expected emotion, pixels"),
        ("feel;grey;Usage", ["0;1;2"], r"no column emotion and pixels \(columns found: feel, grey, Usage\)"),
        ("pixels", [GREY], r"no column emotion .*a test file without labels"),
        ("emotion,pixels", [], "a header and no rows"),
        (
            "emotion,pixels",
            [f"0,{GREY}", f"7,{GREY}", f"-1,{GREY}"],
            r"row 1 \(.*classes are numbered, 0 to 7; say which is which: data",
        ),
        (
            "emotion,pixels",
            [f"0,{GREY}", f"-1,{GREY}"],
            r"row 1 .*emotion is '-1', not a label; correct the row or delete it",
        ),
        ("emotion,pixels", [f"happy,{GREY}", f"bored,{GREY}"], r"row 1 .*emotion is 'bored', not .*data\.aliases"),
        ("emotion,pixels", [f",{GREY}"], r"row 0 .*emotion is '', not a label"),
        ("emotion,pixels,Usage", [f"0,{GREY},Training", f"0,{GREY}"], r"row 1 .*Usage is '', not Training, PublicTest"),
        ("emotion,pixels,Usage", [f"0,{GREY},Holdout"], r"row 0 .*Usage is 'Holdout', not"),
    ],
)
def test_bad_tables(tmp_path: Path, header: str, rows: list[str], message: str) -> None:
    path = write(tmp_path / "train.csv", *rows, header=header)
    for root in (path, tmp_path):
        with pytest.raises(DataError, match=message) as caught:
            read_layout(root)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b'emotion,pixels\n0,"1 2\n3'])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"fer2013\.csv.*complete copy"):
        read_layout(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([GREY, GREY + " 1", GREY, "1 2"], "row 1 and 1 more .*: 17 pixels, not 16 as in the other rows"),
        ([GREY, "", GREY], "row 1 .*: 0 pixels, not 16"),
        (["1 2 3 4 5"] * 3, "5 pixels per row make no square picture"),
        (["7"] * 3, "1 pixels per row make no square picture"),
        ([GREY, GREY.replace("128", "256", 1)], r"row 1 \(.*a pixel is not a whole number from 0 to 255"),
        ([GREY, GREY.replace("128", "-1", 1)], "row 1 .*not a whole number"),
        ([GREY, GREY.replace("128", "0.5", 1)], "row 1 .*not a whole number"),
        ([GREY, GREY.replace("128", "x", 1), "a"], "row 1 and 1 more .*not a whole number"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_bad_pixels(tmp_path: Path, rows: list[str], message: str) -> None:
    path = write(tmp_path / "fer2013.csv", *(f"0,{row},Training" for row in rows))
    with pytest.raises(DataError, match=message):
        read_csv_pixels(path)


def test_a_bad_row_in_a_later_chunk_is_named(tmp_path: Path) -> None:
    good = write(tmp_path / "good.csv", *(f"0,{value} 0 0 {value},Training" for value in range(250) for _ in range(10)))
    np.testing.assert_array_equal(read_csv_pixels(good)[:, 1, 1], np.repeat(np.arange(250), 10))
    rows = [f"0,{GREY},Training"] * 2500
    rows[2300] = "0,1 2 3 4,Training"
    with pytest.raises(DataError, match=r"row 2300 .*4 pixels, not 16"):
        read_csv_pixels(write(tmp_path / "bad.csv", *rows))


def test_fer2013(shared_fer2013: Path, tmp_path: Path) -> None:
    program = [sys.executable, shared_fer2013 / "expand.py", "--limit", "4", "--layout", "csv", tmp_path]
    subprocess.run(program, check=True, capture_output=True)
    table = select_classes(read_layout(tmp_path), None, None)
    assert {split: per_class.tolist() for split, per_class in table.counts().items()} == {
        "train": [4] * 7,
        "validation": [4] * 7,
    }
    with np.load(shared_fer2013 / "training-a.npz") as part:
        images, labels = part["images"], part["labels"]
    pixels = read_csv_pixels(tmp_path / "fer2013.csv")
    for path, label in list(zip(table.paths, table.labels, strict=True))[:28]:
        picture = pixels[int(path.split("#")[1])]
        assert (images[labels == label][:4] == picture).all(axis=(1, 2)).any()
    np.testing.assert_array_equal(pixels, read_csv_pixels(tmp_path / "icml_face_data.csv"))
