"""CSV files as people save them: each way to write one gives the table of the plain file, and no split is lost."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.csv_pixels import read_csv_pixels
from fer_lightning.data.layouts.recognize import read_layout
from fer_lightning.data.table.emotions import EMOTIONS, FER2013_CODES
from fer_lightning.data.table.image_table import ImageTable

Rows = Sequence[tuple[int, np.ndarray, str]]
"""(code, picture, split) of each row."""
SPLIT_WORDS = (
    ("Training", "PublicTest", "PrivateTest"),
    ("train", "val", "test"),
    ("Train", "Valid", "Test"),
    ("TRAIN", "DEV", "TEST"),
    ("training", "validation", "testing"),
    ("train_set", "val_set", "test_set"),
    (" train ", "Validation", " test"),
)
LABELS: dict[str, Callable[[int], str]] = {
    "codes": str,
    "floats": lambda code: f"{code}.0",
    "blanks": lambda code: f" {code} ",
    "words": lambda code: FER2013_CODES[code],
    "other words": lambda code: ("Anger", "Disgusted", "FEAR", "Happiness", "sadness", "Suprise", "calm")[code],
    "both": lambda code: f"{code}_{FER2013_CODES[code]}",
}
PIXELS: dict[str, Callable[[np.ndarray], str]] = {
    "plain": lambda picture: " ".join(map(str, picture.ravel())),
    "padded": lambda picture: f"  {'  '.join(map(str, picture.ravel()))} ",
    "floats": lambda picture: " ".join(f"{value}.0" for value in picture.ravel()),
    "list": lambda picture: str(picture.ravel().tolist()),
    "nested": lambda picture: str(picture.tolist()),
    "array": lambda picture: np.array2string(picture, threshold=10**6),
    "commas": lambda picture: ",".join(map(str, picture.ravel())),
    "bytes in quotes": lambda picture: f"'{' '.join(map(str, picture.ravel()))}'",
}
HEADERS = (
    ("emotion", "pixels", "Usage"),
    ("label", " pixels", " split"),
    ("class", "image", "set"),
    ("Expression", "Pixels", "subset"),
    ("target", "img", "partition"),
    ("y", "pixel_values", "phase"),
    ("Emotion Label", "faces", "data_split"),
    ("emotions", "pixels", "anything"),  # a column of such values is a split, whatever its name
)
SEPARATORS = (",", ";", "\t", "|")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1")
SPLITS = ("train", "validation", "test")


def rows_of(count: int = 24, side: int = 4) -> Rows:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (count, side, side), dtype=np.uint8)
    return [(at % 7, picture, SPLITS[at % 3]) for at, picture in enumerate(pictures)]


def quote(field: str, separator: str, always: bool = False) -> str:
    if always or separator in field or "\n" in field:
        return f'"{field}"'
    return field


def write(
    path: Path,
    rows: Rows,
    header: Sequence[str] = HEADERS[0],
    label: Callable[[int], str] = str,
    pixels: Callable[[np.ndarray], str] = PIXELS["plain"],
    words: Sequence[str] = SPLIT_WORDS[0],
    separator: str = ",",
    encoding: str = "utf-8",
    order: Sequence[int] = (0, 1, 2),
    newline: str = "\n",
    index: bool = False,
    quoted: bool = False,
    tail: str = "",
) -> Path:
    lines = [[header[at] for at in order]]
    for code, picture, split in rows:
        fields = [label(code), pixels(picture), words[SPLITS.index(split)] if split else ""]
        lines.append([fields[at] for at in order])
    if index:
        lines = [[("" if at == 0 else str(at - 1)), *line] for at, line in enumerate(lines)]
    text = newline.join(separator.join(quote(field, separator, quoted) for field in line) for line in lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((text + newline + tail).encode(encoding))
    return path


def content(table: ImageTable) -> dict[str, list[tuple[str, str, bytes]]]:
    """Return (class, split, pixels) of each image by split."""
    pictures = {name: read_csv_pixels(table.root / name) for name in {path.split("#")[0] for path in table.paths}}
    found: dict[str, list[tuple[str, str, bytes]]] = {}
    for path, label, split in zip(table.paths, table.labels, table.splits, strict=True):
        name, row = path.split("#")
        found.setdefault(split, []).append((table.classes[label], split, pictures[name][int(row)].tobytes()))
    return {split: sorted(images) for split, images in found.items()}


def expected(rows: Rows) -> dict[str, list[tuple[str, str, bytes]]]:
    images = [(FER2013_CODES[code], split, picture.tobytes()) for code, picture, split in rows]
    return {split: sorted(image for image in images if image[1] == split) for split in {split for *_, split in rows}}


def test_every_way_to_write_a_csv_gives_the_same_table(tmp_path: Path) -> None:
    """Each way of each kind at least once, in random company."""
    chance, rows = random.Random(0), rows_of()
    for number in range(96):
        separator, header = SEPARATORS[number % 4], HEADERS[number % 8]
        pixels = list(PIXELS)[number // 3 % 8]
        label, words = list(LABELS)[number % 6], SPLIT_WORDS[number % 7]
        options = {
            "encoding": chance.choice(ENCODINGS),
            "order": chance.sample(range(3), 3),
            "newline": chance.choice(("\n", "\r\n")),
            "index": chance.random() < 0.3,
            "quoted": chance.random() < 0.3,
            "tail": chance.choice(("", "\n\n", separator * 2 + "\n")),
        }
        described = f"{separator!r} {header} {label} {pixels} {words} {options}"
        path = tmp_path / str(number) / f"faces{chance.choice(('.csv', '.CSV', '.tsv'))}"
        written = write(path, rows, header, LABELS[label], PIXELS[pixels], words, separator, **options)
        table = read_layout(chance.choice((written, written.parent)))
        assert table.classes == EMOTIONS, described
        assert content(table) == expected(rows), described


@pytest.mark.parametrize("name", ["pixel_{}", "pixel{}", "{}", "px {}", "{}x{}", "Pixel{}"])
@pytest.mark.parametrize("start", [0, 1])
def test_a_column_for_each_pixel(tmp_path: Path, name: str, start: int) -> None:
    rows, grid = rows_of(), name.count("{}") == 2
    names = [name.format(at // 4 + start, at % 4 + start) if grid else name.format(at + start) for at in range(16)]
    order = list(range(16)) if grid else np.random.default_rng(0).permutation(16)
    lines = [f"{code},{split},{','.join(str(picture.ravel()[at]) for at in order)}" for code, picture, split in rows]
    path = tmp_path / "wide.csv"
    path.write_text("\n".join([f"label,split,{','.join(names[at] for at in order)}", *lines, ""]))
    assert content(read_layout(path)) == expected(rows)


def test_fractions_of_255(tmp_path: Path) -> None:
    rows = rows_of()
    path = write(tmp_path / "fer.csv", rows, pixels=lambda picture: " ".join(f"{v / 255:.8f}" for v in picture.ravel()))
    assert content(read_layout(path)) == expected(rows)


def test_the_line_that_excel_writes_above_the_header(tmp_path: Path) -> None:
    path = write(tmp_path / "fer.csv", rows_of(), separator=";")
    path.write_text("sep=;\n" + path.read_text())
    assert content(read_layout(path)) == expected(rows_of())


@pytest.mark.parametrize(
    "names",
    [
        ("train.csv", "val.csv", "test.csv"),
        ("training.csv", "validation.csv", "testing.csv"),
        ("fer2013_train.csv", "fer2013_valid.csv", "fer2013_test.csv"),
        ("ck_train.csv", "ck_dev.csv", "ck_test.csv"),
        ("train/faces.csv", "val/faces.csv", "test/faces.csv"),
        ("train.csv", "", "test.csv"),
    ],
)
def test_files_side_by_side_are_splits(tmp_path: Path, names: Sequence[str]) -> None:
    rows = [row for row in rows_of() if names[SPLITS.index(row[2])]]
    for name, split in zip(names, SPLITS, strict=True):
        if name:
            mine = [row for row in rows if row[2] == split and (split == "train" or row[0] > 0)]
            write(tmp_path / name, mine, order=(0, 1))  # the numbers of each file alone would be read otherwise
    wanted = [row for row in rows if row[2] == "train" or row[0] > 0]
    assert content(read_layout(tmp_path)) == expected(wanted)
    if "/" not in names[0]:
        note = read_layout(tmp_path / names[0]).notes[0]
        assert names[2] in note
        assert f"data.root={tmp_path} reads all" in note


def test_files_that_mean_one_split_or_none(tmp_path: Path) -> None:
    rows = rows_of()
    for name in ("train.csv", "training.csv", "test.csv"):
        write(tmp_path / "twice" / name, rows, order=(0, 1))
    with pytest.raises(DataError, match=r"train\.csv and training\.csv both mean train; keep one of them"):
        read_layout(tmp_path / "twice")
    assert set(read_layout(tmp_path / "twice", aliases={"training": None}).splits) == {"train", "test"}
    assert len(read_layout(tmp_path / "twice", aliases={"training": "train"})) == 3 * len(rows)
    for name in ("train.csv", "test.csv", "fer2013.csv"):
        write(tmp_path / "whole" / name, rows, order=(0, 1))
    with pytest.raises(DataError, match=r"'data.aliases={fer2013: null}' .*, or data\.root=.*fer2013\.csv alone$"):
        read_layout(tmp_path / "whole")
    table = read_layout(tmp_path / "whole", aliases={"fer2013": None})
    assert (set(table.splits), table.notes) == ({"train", "test"}, ("fer2013.csv left out: as data.aliases says",))
    for name in ("trainval.csv", "test.csv"):
        write(tmp_path / "guess" / name, rows, order=(0, 1))
    with pytest.raises(DataError, match=r"'data.aliases={trainval: train}'"):
        read_layout(tmp_path / "guess")
    assert set(read_layout(tmp_path / "guess", aliases={"trainval": "train"}).splits) == {"train", "test"}


def test_a_test_file_without_labels_is_left_out_and_said(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows_of())
    (tmp_path / "test.csv").write_text("pixels\n1 2 3 4\n")
    table = read_layout(tmp_path)
    assert content(table) == expected(rows_of())
    assert table.notes == ("test.csv left out: pixels without labels",)


def test_a_file_named_test_is_not_trained_on(tmp_path: Path) -> None:
    path = write(tmp_path / "test.csv", rows_of(), order=(0, 1))
    assert set(read_layout(path).splits) == {"test"}
    assert set(read_layout(tmp_path).splits) == {"test"}


def aliases_in(message: str) -> Mapping[str, str]:
    """Return the first `data.aliases` in a message, as Hydra would read it."""
    found = re.search(r"'data\.aliases=(\{.*?\})'", message)
    assert found, message
    aliases: Mapping[str, str] = yaml.safe_load(found[1])
    return aliases


def refusal(root: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read_layout(root, **options)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("column", ["Usage", "split", "set", "subset", "partition", "phase", "data_split", "fold"])
@pytest.mark.parametrize(
    "words", [("0", "1", "2"), ("A", "B", "C"), ("0.0", "1.0", "2.0"), ("train", "eval", "holdout")]
)
def test_a_split_of_unknown_words_is_never_drawn_anew(tmp_path: Path, column: str, words: Sequence[str]) -> None:
    path = write(tmp_path / "fer.csv", rows_of(), header=("emotion", "pixels", column), words=words)
    message = refusal(path)
    aliases = aliases_in(message)
    assert f"rename the column {column}" in message
    table = read_layout(path, aliases=aliases)
    assert "" not in table.splits
    assert table.classes == EMOTIONS
    assert set(table.splits) >= {"train", "test"}


def test_an_unknown_word_is_offered_the_split_that_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "fer.csv", rows_of(), words=("train", "eval", "test"))
    assert aliases_in(refusal(path)) == {"eval": "validation"}
    assert content(read_layout(path, aliases={"eval": "validation"})) == expected(rows_of())


def test_rows_of_an_unwanted_split_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "fer.csv", rows_of(), words=("train", "extra", "test"))
    assert "(null leaves its rows out)" in refusal(path)
    table = read_layout(path, aliases={"extra": None})
    assert content(table) == {split: images for split, images in expected(rows_of()).items() if split != "validation"}
    assert "rows left out, as data.aliases says" in table.notes[0]


def test_flags_of_one_split(tmp_path: Path) -> None:
    rows = [row for row in rows_of() if row[2] != "test"]
    header = ("emotion", "pixels", "is_valid")
    path = write(tmp_path / "fer.csv", rows, header, words=("False", "True", ""))
    assert content(read_layout(path)) == expected(rows)
    path = write(tmp_path / "other.csv", rows, ("emotion", "pixels", "is_train"), words=("True", "False", ""))
    assert "rename the column is_train" in refusal(path)


def test_columns_that_contradict_each_other(tmp_path: Path) -> None:
    path = write(tmp_path / "fer.csv", rows_of())
    lines = path.read_text().splitlines()
    same = [f"{line},{'split' if at == 0 else line.rpartition(',')[2]}" for at, line in enumerate(lines)]
    path.write_text("\n".join(same))
    assert content(read_layout(path)) == expected(rows_of())
    path.write_text("\n".join([f"{lines[0]},split", *(f"{line},train" for line in lines[1:])]))
    assert "the columns Usage and split name different splits" in refusal(path)


@pytest.mark.parametrize(
    ("codes", "orders"),
    [
        (range(1, 8), ["rafdb"]),
        (range(8), ["affectnet", "ferplus", "ckplus"]),
        (range(1, 7), ["fer2013", "alphabetical", "rafdb"]),
    ],
)
def test_numbers_that_are_not_those_of_fer2013(tmp_path: Path, codes: Sequence[int], orders: Sequence[str]) -> None:
    rows = [(code, picture, "train") for code, (_, picture, _) in zip([*codes] * 2, rows_of(), strict=False)]
    path = write(tmp_path / "fer.csv", rows)
    message = refusal(path)
    for order in orders:
        assert f"data.code_order={order} (" in message
        assert len(read_layout(path, code_order=order).classes) == len(codes)  # type: ignore[arg-type]
    aliases = {code: f"{word}" for code, word in zip(codes, [*EMOTIONS, "contempt"], strict=False)}
    assert sorted(aliases_in(message)) == list(codes)
    assert len(read_layout(path, aliases=aliases).classes) == len(codes)  # type: ignore[arg-type]


def test_the_column_of_numbers_is_named_where_it_may_be_another_order(tmp_path: Path) -> None:
    path = write(tmp_path / "fer.csv", rows_of(), header=("label", "pixels", "split"))
    assert "data.code_order says otherwise" in read_layout(path).notes[0]
    assert read_layout(write(tmp_path / "usual.csv", rows_of())).notes == ()


def test_words_go_before_numbers(tmp_path: Path) -> None:
    """A column of words says what the numbers beside it mean."""
    rows = rows_of()
    lines = [f"{6 - code},{FER2013_CODES[code]},{PIXELS['plain'](picture)},{split}" for code, picture, split in rows]
    path = tmp_path / "fer.csv"
    path.write_text("\n".join(["label,emotion_name,pixels,split", *lines]))
    table = read_layout(path)
    assert content(table) == expected(rows)
    assert table.notes == ("fer.csv: labels are those in the column emotion_name; not used: label",)


def test_unknown_words_and_their_cure(tmp_path: Path) -> None:
    words = ("cross", "disgust", "fear", "hapy", "sad", "surprise", "bored")
    path = write(tmp_path / "fer.csv", rows_of(), label=lambda code: words[code])
    aliases = aliases_in(refusal(path))
    assert aliases == {"cross": "CLASS", "hapy": "happy", "bored": "CLASS"}
    chosen = {"cross": "angry", "hapy": "happy", "bored": "neutral"}
    assert content(read_layout(path, aliases=chosen)) == expected(rows_of())
    left_out = read_layout(path, aliases=chosen | {"bored": None})  # type: ignore[arg-type]
    assert "neutral" not in left_out.classes
    assert left_out.notes == ("3 rows left out, as data.aliases says",)


def test_what_cannot_be_mended_by_reading(tmp_path: Path) -> None:
    shortened = write(tmp_path / "short.csv", rows_of(), pixels=lambda picture: "[1 2 3 ... 4 5 6]")
    with pytest.raises(DataError, match=r"NumPy shortened the pixels to '\.\.\.'.*' '\.join\(map\(str, pixels\)\)"):
        read_csv_pixels(shortened)
    bare = tmp_path / "bare.csv"
    bare.write_text("".join(write(tmp_path / "fer.csv", rows_of()).read_text().splitlines(keepends=True)[1:]))
    message = refusal(bare)
    assert "put a line above it that names them, such as emotion,pixels,Usage" in message
    bare.write_text("emotion,pixels,Usage\n" + bare.read_text())
    assert content(read_layout(bare)) == expected(rows_of())


def test_odd_bytes_never_crash(tmp_path: Path) -> None:
    """Seeded changes of a small file: read, or refused in one line."""
    chance, refusals = random.Random(0), list[str]()
    good = write(tmp_path / "good.csv", rows_of(6)).read_bytes()
    for number in range(80):
        data = bytearray(good)
        for _ in range(chance.choice((1, 2, 20))):
            at = chance.randrange(len(data))
            odd = chance.choice(
                (b"\0", b"\xff", b"\x1b[31m", b'"', b"\r", b",", b";", b"9" * 400, b"nan", b"-", b"=1+1")
            )
            data[at : at + chance.randrange(2)] = odd
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)) :]
        path = tmp_path / f"{number}.csv"
        path.write_bytes(data)
        try:
            table = read_layout(path)
            read_csv_pixels(path)
            assert len(table) > 0
        except DataError as error:
            refusals.append(str(error))
    assert 15 < len(refusals) < 80
    assert all(message.isprintable() for message in refusals)
