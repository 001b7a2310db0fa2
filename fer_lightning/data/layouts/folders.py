"""Read a tree of class folders, with or without splits, into a table."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fer_lightning.core.errors import DataError
from fer_lightning.core.suggestions import close_matches
from fer_lightning.data.layouts.folder_search import IMAGE_SUFFIXES, FolderSearch
from fer_lightning.data.table.columns import CategoricalColumn, PathColumn
from fer_lightning.data.table.emotions import ALIASES, CODE_ORDERS, CodeOrder, canonical, fold
from fer_lightning.data.table.image_table import SPLITS, ImageTable, describe_counts, order_classes
from fer_lightning.data.table.split_names import split_of

Files = dict[tuple[str, str], list[str]]
"""(split, class) to the posix paths of its images, relative to the tree."""


def read_folder_table(tree: Path, code_order: CodeOrder | None, search: FolderSearch) -> ImageTable:
    """Read a tree whose top level is splits or classes; no image is opened.

    `code_order`, a key of `CODE_ORDERS`, is what folders named 0 to 6 mean; None if numbers are not allowed.

    Raises:
        DataError: An unknown class folder, numbered folders without `code_order`, no images, an unreadable folder,
            two folders for one split, splits or classes inside a class.
    """
    reader = _TreeReader(tree, code_order, search)
    reader.raise_problems()
    notes = [*reader.notes, *reader.describe_ignored()]
    files, official = _recover_official_split(reader.files)
    if official:
        notes.append(official)
    if not any(files.values()):
        hint = f", not {reader.other_file}" if reader.other_file else ""
        raise DataError(f"{tree}: no images in its class folders; read are {' '.join(IMAGE_SUFFIXES)}{hint}")
    classes = order_classes(name for _, name in files)
    order = [(split, name) for split in (*SPLITS, "") for name in classes if files.get((split, name))]
    sizes = [len(files[key]) for key in order]
    codes = np.array([(*SPLITS, "").index(split) for split, _ in order], dtype=np.uint8)
    splits = CategoricalColumn(np.repeat(codes, sizes), (*SPLITS, ""))
    paths = PathColumn.of(path for key in order for path in sorted(files[key], key=_natural))
    labels = np.repeat([classes.index(name) for _, name in order], sizes)
    explanation = f"found {reader.found} under {tree}: {describe_counts(splits, classes)}"
    empty = tuple(key for key, found in files.items() if not found)
    rows = np.arange(sum(sizes))
    return ImageTable(tree, "folders", paths, labels, splits, classes, explanation, rows, tuple(notes), empty)


def alias_setting(names: Sequence[str]) -> str:
    """Return the setting `data.aliases` for unknown class folders, with a guess of the meaning where possible."""
    words = [spelling for spelling in ALIASES if len(spelling) > 2]  # two letters resemble too many names
    pairs = []
    for name in names[:8]:
        near = close_matches(fold(name), words, cutoff=0.7)
        pairs.append(f"{fold(name)}: {ALIASES[near[0]] if near else 'CLASS'}")
    return f"'data.aliases={{{', '.join(pairs)}}}'"


class _TreeReader:
    """Reads a tree; collects unknown folders, so that one message can name all of them."""

    def __init__(self, tree: Path, code_order: CodeOrder | None, search: FolderSearch) -> None:
        self.tree, self.code_order, self.search = tree, code_order, search
        self.files: Files = {}
        self.notes: list[str] = []
        self.other_file = ""  # the first file that is not an image
        self.numbered: list[Path] = []
        self.unknown_classes: list[Path] = []
        self.ignored_folders: list[Path] = []  # which hold another data set, or none
        names: dict[str, str] = {}
        folders = search.split_folders(tree)
        for name, inside in folders.items():
            split = str(split_of(name))
            if split in names:
                raise DataError(f"{tree}: {names[split]}/ and {name}/ both mean {split}: keep one of them")
            names[split] = name
            self._read_classes(split, inside)
        self.found = " and ".join(f"{names[split]}/" for split in SPLITS if split in names)
        if not folders:
            self._read_classes("", tree)
            self.found = f"{len(self.files)} class folders without a split"
            return
        for name in search.list(tree).folders:
            if name in folders:
                continue
            folder, near = tree / name, close_matches(name, SPLITS, cutoff=0.8)
            listing = search.list(folder)
            if split_of(name) is not None:
                what = f"{len(listing.images):,} images without class folders" if listing.images else "no images"
                self.notes.append(f"{name}/ left out: {what} in it")
            elif near and listing.folders:
                raise DataError(f"{folder} is not named for a split: rename it to {near[0]}, or move it away")
            else:
                self.ignored_folders.append(folder)

    def _read_classes(self, split: str, folder: Path) -> None:
        listing = self.search.list(folder)
        if listing.images:
            self.notes.append(f"{len(listing.images):,} images beside the class folders of {folder} left out")
        first: dict[str, str] = {}  # class to the first folder that means it
        for name in listing.folders:
            inside = folder / name
            emotion = canonical(name, self.search.aliases, self.code_order)
            if emotion is not None:
                if first.setdefault(emotion, name) != name:
                    self.notes.append(f"{first[emotion]}/ and {name}/ in {folder} both mean {emotion}: merged")
                self.files.setdefault((split, emotion), []).extend(self._gather(inside, emotion))
            elif name.isdecimal():
                self.numbered.append(inside)
            else:
                inner = self.search.find(inside)
                if inner.unnamed and not inner.trees:
                    self.unknown_classes.append(inside)
                self.ignored_folders.append(inside)

    def _gather(self, folder: Path, emotion: str) -> list[str]:
        """Return the images in and below a class folder. Folders inside may be people or sources, but not classes."""
        listing = self.search.list(folder)
        relative = folder.relative_to(self.tree).as_posix()
        paths = [f"{relative}/{name}" for name in listing.images]
        if listing.others and not self.other_file:
            self.other_file = f"{relative}/{listing.others[0]}"
        for name in listing.folders:
            meaning = canonical(name, self.search.aliases)
            if split_of(name) is not None or (meaning is not None and (meaning != emotion or listing.images)):
                what = f"{folder} is a class folder, and the folder {name}/ in it looks like a split or a class"
                raise DataError(f"{what}: arrange the images as train/happy/…, or move it away")
            # a link to a parent folder would never end
            if Path(os.path.realpath(folder / name)) not in Path(os.path.realpath(folder), "x").parents:
                paths += self._gather(folder / name, emotion)
        return paths

    def raise_problems(self) -> None:
        """Raise DataError for folders whose meaning is unclear."""
        if self.unknown_classes:
            names = list(dict.fromkeys(folder.name for folder in self.unknown_classes))
            others = f" (and {', '.join(f'{name}/' for name in names[1:6])})" if len(names) > 1 else ""
            what = f"unknown class folder {self.unknown_classes[0]}{others}"
            raise DataError(f"{what}; say what is meant: {alias_setting(names)}")
        too_large = [folder for folder in self.numbered if int(folder.name) > 6]
        if too_large:
            setting = alias_setting(list(dict.fromkeys(folder.name for folder in self.numbered)))
            raise DataError(f"class folder {too_large[0]} is not a number from 0 to 6; say what is meant: {setting}")
        if self.numbered:
            orders = " or ".join(
                f"data.code_order={key} ({', '.join(names.values())})" for key, names in CODE_ORDERS.items()
            )
            raise DataError(f"{self.numbered[0].parent}: classes are numbered; say in which order: {orders}")

    def describe_ignored(self) -> list[str]:
        """Return notes on ignored folders: a second copy of this data set, another one, or neither."""
        notes = []
        for folder in self.ignored_folders:
            inner = self.search.find(folder)
            for tree in inner.trees:
                copy = _TreeReader(tree, self.code_order, self.search).files
                theirs, ours = ({key: sorted(paths) for key, paths in files.items()} for files in (copy, self.files))
                what = "a second copy of the same" if theirs == ours else "a copy or another data set, with"
                notes.append(f"{tree.relative_to(self.tree)}/ left out: {what} {sum(map(len, copy.values())):,} images")
            if inner.unnamed and not inner.trees:
                notes.append(f"{folder.relative_to(self.tree)}/ left out: neither a split nor a class")
        return notes


def _recover_official_split(files: Files) -> tuple[Files, str]:
    """Divide test/ into the official validation and test images by its file names, if possible; return also a note."""
    in_train, in_test = (
        {_usage(path) for (split, _), paths in files.items() if split == folder for path in paths}
        for folder in ("train", "test")
    )
    official = {"publictest", "privatetest"}
    if any(split == "validation" for split, _ in files) or not in_test & official:
        return files, ""
    if "training" in in_test or in_train & official:
        return files, "Training_, PublicTest_ and PrivateTest_ images are mixed: split by folder, not the official way"
    recovered: Files = {key: [] for key, paths in files.items() if not paths}
    for (split, name), paths in files.items():
        for path in paths:
            public = split == "test" and _usage(path) == "publictest"
            recovered.setdefault(("validation" if public else split, name), []).append(path)
    return recovered, "official split by the file names in test/: PublicTest_ is validation, PrivateTest_ is test"


def _usage(path: str) -> str:
    """Return the folded word before the first underscore of a file name: "publictest" for PublicTest_28709.jpg."""
    return path.rpartition("/")[2].partition("_")[0].lower()


def _natural(path: str) -> tuple[list[int | str], str]:
    """Return a sort key that puts 9.jpg before 10.jpg; the path itself settles 1.jpg and 01.jpg."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path)], path
