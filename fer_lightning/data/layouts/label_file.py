"""Lists of labels beside images: RAF-DB's list, metadata of Hugging Face, _classes.csv of Roboflow, a labels.csv."""

from __future__ import annotations

import csv
import json
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from fer_lightning.core.counts import count_images
from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.file_name_splits import Files, split_by_name
from fer_lightning.data.layouts.folder_search import FolderSearch
from fer_lightning.data.layouts.folders import table_of
from fer_lightning.data.layouts.naming_advice import class_settings, describe_numbers
from fer_lightning.data.layouts.split_column import LEFT_OUT, columns_named_for_splits, meaning_of, read_split_column
from fer_lightning.data.table.emotions import LABEL_COLUMNS, canonical, code_of, fold
from fer_lightning.data.table.image_table import ImageTable
from fer_lightning.data.table.split_names import find_columns

FILE_COLUMNS: tuple[str, ...] = (
    *("filename", "file", "path", "filepath", "image", "imagepath", "imagename", "imagefile", "img", "imgpath"),
    *("imgname", "subdirectoryfilepath", "name", "imageid", "id"),
)
"""Folded names of columns that hold the file of an image, the surest first."""


class _Row(NamedTuple):
    source: Path  # the list that holds it
    image: str
    label: str
    others: dict[str, str]  # the values of columns that may say the split


def is_label_file(path: Path) -> bool:
    """Return whether a file is a list of images and labels, by its name and its first row.

    A sample submission of a competition and predictions of ours look like one, but their labels are none.
    """
    try:
        return "submission" not in path.name.lower() and next(_rows(path), None) is not None
    except (OSError, ValueError, csv.Error):
        return False


def names_splits(path: Path, search: FolderSearch) -> bool:
    """Return whether a list of labels says the splits of its images, by a column or by its own name."""
    return search.split(path.stem) is not None or bool(next(_rows(path, search)).others)


def read_label_table(root: Path, lists: Sequence[Path], images: Sequence[Path], search: FolderSearch) -> ImageTable:
    """Read the labels of images from lists; no image is opened, and none that was not listed below `root` is taken.

    The split is that of the row, of a folder of the image, of the list's name, or of the names of the files.

    Args:
        root: The folder that holds all of them.
        lists: Files for which `is_label_file` is true.
        images: Folders that hold the images.

    Raises:
        DataError: An unknown label or split, an image with two labels, no image that is in a list.
    """
    rows: list[_Row] = []
    splits: list[str] = []  # of each row, "" where no column says it
    for source in lists:
        search.record_state(source)
        try:
            part = list(_rows(source, search))
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(f"cannot read the list of labels {source}: {error}") from error
        columns = {name: [row.others[name] for row in part] for name in part[0].others} if part else {}
        rows, splits = rows + part, splits + (read_split_column(source, columns, search) or [""] * len(part))
    finder = _Finder(root, images, search)
    found: dict[str, tuple[str, str]] = {}  # path to split and class
    missing: list[str] = []
    unwanted: set[str] = set()
    classes = {label: _class_of(label, rows, search) for label in dict.fromkeys(row.label for row in rows)}
    for row, split in zip(rows, splits, strict=True):
        label, path = classes[row.label], finder.find(row, split)
        if path is None:
            missing.append(row.image)
        elif label is None or split == LEFT_OUT:
            unwanted.add(path)
        elif found.setdefault(path, (split or _split_by_place(row, path, search), label))[1] != label:
            raise DataError(f"{row.source}: {path} is both {found[path][1]} and {label}: keep one of the two rows")
    names = " and ".join(dict.fromkeys(path.relative_to(root).as_posix() for path in lists))
    if not found:
        raise DataError(f"{lists[0]}: none of its images, such as {rows[0].image}, lies below {root}")
    files: Files = {}
    for path, key in found.items():
        files.setdefault(key, []).append(path)
    files, by_name = split_by_name(files)
    notes = [by_name] if by_name else []
    if missing:
        notes.append(f"{names} names {count_images(len(missing))} that are not there, such as {missing[0]}")
    if unwanted:
        notes.append(f"{count_images(len(unwanted))} left out, as {names} names no class, or one that is not wanted")
    if unlabelled := [path for path in finder.paths if path not in found and path not in unwanted]:
        notes.append(f"{count_images(len(unlabelled))} without a label left out, such as {unlabelled[0]}")
    return table_of(root, files, f"labels in {names}", notes)


class _Finder:
    """Finds the image that a row means among those that were listed."""

    def __init__(self, root: Path, folders: Sequence[Path], search: FolderSearch) -> None:
        relative = {folder: folder.relative_to(root).as_posix() for folder in folders}
        self._root, self._search = root, search
        self.paths = [posixpath.normpath(f"{relative[f]}/{name}") for f in folders for name in search.list(f).images]
        self._known, self._by_name, self._by_stem = set(self.paths), dict[str, list[str]](), dict[str, list[str]]()
        for path in self.paths:
            name = posixpath.basename(path)
            self._by_name.setdefault(name, []).append(path)
            self._by_stem.setdefault(posixpath.splitext(name)[0], []).append(path)

    def find(self, row: _Row, split: str) -> str | None:
        """Return the path of the image; of several of one name, the one that lies in a folder of the row's split."""
        name = posixpath.normpath(row.image.replace("\\", "/"))
        base = row.source.parent.relative_to(self._root).as_posix()
        while True:  # from the folder of the list up to the root
            if (path := posixpath.normpath(f"{base}/{name}")) in self._known:
                return path
            if base in (".", ""):
                break
            base = posixpath.dirname(base)
        stem, suffix = posixpath.splitext(posixpath.basename(name))
        for found in (
            self._by_stem.get(f"{stem}_aligned", []),  # as RAF-DB names the faces it has cut out
            self._by_name.get(stem + suffix, []),
            self._by_stem.get(stem + suffix, []),  # an id without a suffix
        ):
            if len(found) > 1:
                wanted = split or self._search.split(row.source.stem)
                found = [path for path in found if _split_of_folders(path, self._search) == wanted]
            if len(found) == 1:
                return found[0]
        return None


def _class_of(label: str, rows: Sequence[_Row], search: FolderSearch) -> str | None:
    """Return the class of a label, or None where its images are left out."""
    if not label or fold(label) in search.unwanted:
        return None
    where = next(row.source for row in rows if row.label == label)
    is_rafdb = where.suffix.lower() == ".txt" and search.code_order is None
    found = canonical(label, search.aliases, "rafdb") if is_rafdb else search.meaning(label)
    if found is not None:
        return found
    labels = dict.fromkeys(row.label for row in rows if row.label and search.meaning(row.label) is None)
    numbers = [number for other in labels if (number := code_of(other)) is not None]
    if code_of(label) is not None:
        raise DataError(describe_numbers(where, numbers, search.code_order))
    words = [other for other in labels if code_of(other) is None]
    raise DataError(f"{where}: unknown label {label!r}; say what is meant: {class_settings(words)}")


def _split_by_place(row: _Row, path: str, search: FolderSearch) -> str:
    return _split_of_folders(path, search) or search.split(row.source.stem) or ""


def _split_of_folders(path: str, search: FolderSearch) -> str | None:
    return next((split for name in path.split("/")[:-1] if (split := search.split(name)) is not None), None)


def _rows(path: Path, search: FolderSearch | None = None) -> Iterator[_Row]:
    """Yield the rows of a list; none where it is no list of labels. A label is "" where a row has no class.

    `search` knows which values may be splits.
    """
    name = path.name.lower()
    with open(path, "rb") as file:
        encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with open(path, encoding=encoding, errors="surrogateescape", newline="") as file:
        if name.endswith(".txt"):
            for line in filter(str.strip, file):
                image, _, label = line.strip().rpartition(" ")
                if not image or not (code_of(label) is not None or canonical(label) is not None):
                    return
                yield _Row(path, image.strip(), label, {})
            return
        if name.endswith(".jsonl"):
            objects = (json.loads(line) for line in file if line.strip())
            table = ({key: str(value) for key, value in row.items()} for row in objects if isinstance(row, dict))
            first = next(table, {})
            yield from _rows_of_table(path, list(first), chain([first], table), search)
        else:
            header = file.readline()  # alone, as a CSV of pixels is large
            delimiter = max(",;\t|", key=header.count)
            columns = [column.strip() for column in next(csv.reader([header], delimiter=delimiter), [])]
            reader = csv.reader(file, delimiter=delimiter)
            named = (dict(zip(columns, row, strict=False)) for row in reader if row)
            yield from _rows_of_table(path, columns, named, search)


def _rows_of_table(
    path: Path, header: Sequence[str], table: Iterable[dict[str, str]], search: FolderSearch | None
) -> Iterator[_Row]:
    """Yield the rows of a table with a column of files and one of labels, or one of 0 and 1 for each class."""
    images, labels = find_columns(header, FILE_COLUMNS), find_columns(header, LABEL_COLUMNS)
    splits = columns_named_for_splits(header)
    one_hot = [] if labels else [column for column in header if column not in (*images[:1], *splits)]
    if not images or not {"pixels", "predicted"}.isdisjoint(map(fold, header)) or not (labels or len(one_hot) > 1):
        return
    others = [column for column in header if column not in (*images, *labels, *one_hot)]
    for at, row in enumerate(table):
        values = {column: row.get(column, "").strip() for column in header}
        if any(values[column] not in _FLAGS for column in one_hot):
            raise ValueError(f"{values[images[0]]} has another value than 0 and 1 in {', '.join(one_hot)}")
        if at == 0 and search is not None:  # the other columns are not kept, as they may be long
            others = [name for name in others if name in splits or meaning_of(values[name], name, search) is not None]
        marked = [column for column in one_hot if values[column] in _MARKED]
        label = values[labels[0]] if labels else marked[0] if len(marked) == 1 else ""
        yield _Row(path, values[images[0]], label, {name: values[name] for name in others})


_MARKED = frozenset({"1", "1.0"})
_FLAGS = _MARKED | {"0", "0.0"}
