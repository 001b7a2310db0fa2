"""Lists of labels beside images, as public data sets have them. Files are empty: no image is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.label_file import is_label_file
from fer_lightning.data.layouts.recognize import read_layout
from fer_lightning.data.table.image_table import ImageTable

Plant = Callable[[Path, Mapping[str, str]], Path]


def labels(table: ImageTable) -> dict[str, tuple[str, str]]:
    """Return split and class by path."""
    return {
        path: (split, table.classes[label])
        for path, split, label in zip(table.paths, table.splits, table.labels.tolist(), strict=True)
    }


def write(path: Path, *lines: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding=encoding)


@pytest.mark.parametrize("spelling", ["list_patition_label.txt", "list_partition_label.txt"])
@pytest.mark.parametrize("places", ["aligned", "aligned original"])
def test_list_of_rafdb(tmp_path: Path, plant: Plant, spelling: str, places: str) -> None:
    names = [f"{split}_{number:05d}" for split in ("train", "test") for number in (1, 2)]
    for place in places.split():
        suffix = "_aligned.jpg" if place == "aligned" else ".jpg"
        plant(tmp_path, {f"basic/Image/{place}": " ".join(f"{name}{suffix}" for name in names)})
    write(tmp_path / "basic/EmoLabel" / spelling, *(f"{name}.jpg {1 + at}" for at, name in enumerate(names)))
    table = read_layout(tmp_path)
    assert labels(table) == {
        "Image/aligned/train_00001_aligned.jpg": ("train", "surprise"),
        "Image/aligned/train_00002_aligned.jpg": ("train", "fear"),
        "Image/aligned/test_00001_aligned.jpg": ("test", "disgust"),
        "Image/aligned/test_00002_aligned.jpg": ("test", "happy"),
    }
    assert (table.root, table.source) == (tmp_path / "basic", "folders")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "tsv"])
def test_metadata_of_hugging_face(tmp_path: Path, plant: Plant, suffix: str) -> None:
    line = {"csv": "{},{}", "tsv": "{}\t{}", "jsonl": '{{"file_name": "{}", "label": "{}"}}'}[suffix]
    header = [] if suffix == "jsonl" else [line.format("file_name", "label")]
    for split in ("train", "validation"):
        plant(tmp_path, {split: "1.png 2.png"})
        write(
            tmp_path / split / f"metadata.{suffix}", *header, line.format("1.png", "Happy"), line.format("2.png", "sad")
        )
    assert labels(read_layout(tmp_path)) == {
        **{f"train/{name}": ("train", label) for name, label in (("1.png", "happy"), ("2.png", "sad"))},
        **{f"validation/{name}": ("validation", label) for name, label in (("1.png", "happy"), ("2.png", "sad"))},
    }


def test_one_hot_columns_of_roboflow(tmp_path: Path, plant: Plant) -> None:
    for split in ("train", "valid", "test"):
        plant(tmp_path, {split: "1.jpg 2.jpg 3.jpg"})
        write(tmp_path / split / "_classes.csv", "filename, Anger, Happy", "1.jpg, 1, 0", "2.jpg, 0, 1", "3.jpg, 0, 0")
    table = read_layout(tmp_path)
    assert labels(table)["valid/2.jpg"] == ("validation", "happy")
    assert len(table) == 6
    lists = "test/_classes.csv and train/_classes.csv and valid/_classes.csv"
    assert table.notes == (f"3 images left out, as {lists} names no class, or one that is not wanted",)


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_labels_csv_with_a_split(tmp_path: Path, plant: Plant, delimiter: str, encoding: str) -> None:
    plant(tmp_path, {"images": "a.jpg b.jpg c.jpg"})
    rows = ["path,label,Usage", "images/a.jpg,0.0,Training", "./images\\b.jpg,3,PublicTest", "c.jpg,4,PrivateTest"]
    write(tmp_path / "labels.csv", *(row.replace(",", delimiter) for row in rows), encoding=encoding)
    with pytest.raises(DataError, match=r"classes are numbered, 0 to 4.*data.code_order=fer2013"):
        read_layout(tmp_path)
    expected = {
        "images/a.jpg": ("train", "angry"),
        "images/b.jpg": ("validation", "happy"),
        "images/c.jpg": ("test", "sad"),
    }
    assert labels(read_layout(tmp_path, code_order="fer2013")) == expected
    assert labels(read_layout(tmp_path / "labels.csv", code_order="fer2013")) == expected


def test_lists_named_for_splits(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"images": "a.jpg b.jpg"})
    write(tmp_path / "train_labels.csv", "image,emotion", "a.jpg,happy")
    write(tmp_path / "test_labels.csv", "image,emotion", "b,sad")  # an id
    assert labels(read_layout(tmp_path)) == {"images/a.jpg": ("train", "happy"), "images/b.jpg": ("test", "sad")}


def test_missing_unlabelled_and_outside(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"secret": "s.jpg", "set/images": "a.jpg b.jpg more.jpg"})
    rows = [
        "images/a.jpg,happy",
        "images/b.jpg,sad",
        "gone.jpg,sad",
        "../secret/s.jpg,sad",
        f"{tmp_path}/secret/s.jpg,sad",
    ]
    write(tmp_path / "set/labels.csv", "path,label", *rows)
    table = read_layout(tmp_path / "set")
    assert sorted(labels(table)) == ["images/a.jpg", "images/b.jpg"]
    assert table.notes == (
        "labels.csv names 3 images that are not there, such as gone.jpg",
        "1 image without a label left out, such as images/more.jpg",
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["a.jpg,happy,", "b.jpg,glum,"], r"unknown label 'glum'.*'data.aliases={glum: CLASS}'.*data.classes=own"),
        (["a.jpg,happy,eval", "b.jpg,sad,train"], r"row 0 .*split is 'eval'.*'data.aliases={eval: validation}'"),
        (["a.jpg,happy,", "b.jpg,sad,train"], r"row 0 .*split is ''.*fill it in, delete the row, or rename"),
        (["a.jpg,happy,", "a.jpg,sad,"], "a.jpg is both happy and sad"),
        (["x.jpg,happy,", "y.jpg,sad,"], "none of its images, such as x.jpg"),
    ],
)
def test_lists_that_cannot_be_followed(tmp_path: Path, plant: Plant, rows: list[str], said: str) -> None:
    plant(tmp_path, {"": "a.jpg b.jpg"})
    write(tmp_path / "labels.csv", "path,label,split", *rows)
    with pytest.raises(DataError, match=said):
        read_layout(tmp_path)


def test_own_names_aliases_and_labels_left_out(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"": "a.jpg b.jpg c.jpg"})
    write(tmp_path / "labels.csv", "path,label", "a.jpg,Cat", "b.jpg,dog", "c.jpg,glum")
    assert [label for _, label in labels(read_layout(tmp_path, own_names=True)).values()] == ["Cat", "dog", "glum"]
    table = read_layout(tmp_path, aliases={"cat": "happy", "dog": "sad", "glum": None})
    assert labels(table) == {"a.jpg": ("", "happy"), "b.jpg": ("", "sad")}
    assert table.notes == ("1 image left out, as labels.csv names no class, or one that is not wanted",)


def test_a_list_is_recognised_by_its_first_row(tmp_path: Path) -> None:
    endless = "x" * 200_000  # longer than a field may be: whoever reads on fails
    write(tmp_path / "a.csv", "path,label", "a.jpg,happy", f"{endless},sad")
    write(tmp_path / "b.csv", "emotion,pixels,path", f"3,{endless},x")
    write(tmp_path / "c.csv", "path,width,height", "a.jpg,48,48")
    write(tmp_path / "d.jsonl", "[1, 2]")
    write(tmp_path / "e.jsonl", "no JSON")
    write(tmp_path / "sample_submission.csv", "id,label", "a,happy")
    write(tmp_path / "predictions.csv", "path,split,label,predicted,happy,sad", "a.jpg,test,happy,sad,0.4,0.6")
    found = {path.name for path in tmp_path.iterdir() if is_label_file(path)}
    assert found == {"a.csv"}
    (tmp_path / "a.jpg").touch()
    with pytest.raises(DataError, match=r"cannot read the list of labels .*a\.csv: field larger"):
        read_layout(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("column", "labelled"),
    [*((name, "words") for name in ("phase", "data_usage", "role", "is_test")), ("phase", "one-hot")],
)
def test_a_column_of_splits_has_the_names_that_it_has_in_a_csv_of_pixels(
    tmp_path: Path, plant: Plant, column: str, labelled: str
) -> None:
    plant(tmp_path, {"images": "a.jpg b.jpg c.jpg d.jpg"})
    words = ("0", "1") if column == "is_test" else ("Training", "testing")
    header, happy, sad = ("label", "happy", "sad") if labelled == "words" else ("happy,sad", "1,0", "0,1")
    rows = [f"a.jpg,{happy},{words[0]}", f"b.jpg,{sad},{words[0]}", f"c.jpg,{happy},{words[1]}"]
    write(tmp_path / "labels.csv", f"image,{header},{column}", *rows, f"d.jpg,{sad},{words[1]}")
    found = {path[7:8]: split for path, (split, _) in labels(read_layout(tmp_path)).items()}
    assert found == {"a": "train", "b": "train", "c": "test", "d": "test"}


def test_rows_of_an_unwanted_split_are_left_out(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"": "a.jpg b.jpg c.jpg"})
    write(tmp_path / "labels.csv", "path,label,split", "a.jpg,happy,train", "b.jpg,sad,train", "c.jpg,sad,extra")
    table = read_layout(tmp_path, aliases={"extra": None})
    assert labels(table) == {"a.jpg": ("train", "happy"), "b.jpg": ("train", "sad")}
    assert "1 image left out" in table.notes[0]


@pytest.mark.parametrize("lists", ["labels", "train test", "train.tsv"])
def test_a_list_divides_class_folders(tmp_path: Path, plant: Plant, lists: str) -> None:
    plant(tmp_path, {"happy": "1.jpg 2.jpg", "sad": "3.jpg 4.jpg"})
    rows = {"train": ["happy/1.jpg,happy", "sad/3.jpg,sad"], "test": ["happy/2.jpg,happy", "sad/4.jpg,sad"]}
    if lists == "train test":
        for split, lines in rows.items():
            write(tmp_path / f"{split}.csv", "path,label", *lines)
    elif lists == "labels":
        write(tmp_path / "labels.csv", "path,label,set", *(f"{row},{split}" for split in rows for row in rows[split]))
    else:
        write(
            tmp_path / "train.tsv", "path\tlabel", *(row.replace(",", "\t") for lines in rows.values() for row in lines)
        )
    read = {path: split for path, (split, _) in labels(read_layout(tmp_path)).items()}
    said = {"happy/1.jpg": "train", "happy/2.jpg": "test", "sad/3.jpg": "train", "sad/4.jpg": "test"}
    assert read == (dict.fromkeys(said, "") if lists == "train.tsv" else said)
    assert set(read_layout(tmp_path, layout="folders").splits) == {""}


def test_a_list_divides_the_only_split_folder(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"train/happy": "1.jpg 2.jpg", "train/sad": "1.jpg 2.jpg"})
    splits = {1: "train", 2: "test"}
    rows = [f"train/{word}/{at}.jpg,{word},{splits[at]}" for word in ("happy", "sad") for at in splits]
    write(tmp_path / "labels.csv", "path,label,split", *rows)
    assert {path: split for path, (split, _) in labels(read_layout(tmp_path)).items()} == {
        row.split(",")[0]: row.split(",")[2] for row in rows
    }
    plant(tmp_path, {"test/happy": "3.jpg", "test/sad": "3.jpg"})
    assert len(read_layout(tmp_path)) == 6


def test_a_list_that_cannot_divide_class_folders(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"happy": "1.jpg 2.jpg", "sad": "3.jpg 4.jpg"})
    rows = ["happy/1.jpg,3", "happy/2.jpg,3", "sad/3.jpg,4", "sad/4.jpg,4"]
    write(tmp_path / "labels.csv", "path,label,group", *(f"{row},{at}" for at, row in enumerate(rows)))
    assert len(read_layout(tmp_path)) == 4
    write(tmp_path / "labels.csv", "path,label,split", *(f"{row},{at}" for at, row in enumerate(rows)))
    with pytest.raises(DataError, match=r"row 0 and 3 more .*or type data\.layout=folders"):
        read_layout(tmp_path)
    assert len(read_layout(tmp_path, layout="folders")) == 4


@pytest.mark.parametrize("column", [False, True])
def test_images_of_one_name_in_two_splits(tmp_path: Path, plant: Plant, column: bool) -> None:
    plant(tmp_path, {"train": "1.jpg 2.jpg", "test": "1.jpg 2.jpg"})
    for split, words in (("train", ("happy", "sad")), ("test", ("sad", "happy"))):
        rows = [f"{at}.jpg,{word},{split}" for at, word in enumerate(words, 1)]
        header = "file,label,usage" if column else "file,label"
        write(
            tmp_path / f"{'ab' if column else ''}{split}.csv",
            header,
            *(rows if column else [r[: -len(split) - 1] for r in rows]),
        )
    assert labels(read_layout(tmp_path)) == {
        "train/1.jpg": ("train", "happy"),
        "train/2.jpg": ("train", "sad"),
        "test/1.jpg": ("test", "sad"),
        "test/2.jpg": ("test", "happy"),
    }
