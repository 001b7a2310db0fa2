"""Read a tree of class folders, with or without splits, into a table."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fer_lightning.core.counts import count_images
from fer_lightning.core.errors import DataError
from fer_lightning.core.suggestions import close_matches
from fer_lightning.data.layouts.file_name_splits import Files, recover_official_split, split_by_name
from fer_lightning.data.layouts.folder_search import IMAGE_SUFFIXES, FolderSearch
from fer_lightning.data.layouts.naming_advice import class_settings, describe_numbers, split_setting
from fer_lightning.data.table.columns import CategoricalColumn, PathColumn
from fer_lightning.data.table.emotions import canonical, code_of, fold
from fer_lightning.data.table.image_table import SPLITS, ImageTable, describe_counts, order_classes

SPECIAL = "pipes, sockets or devices"


def read_folder_table(tree: Path, search: FolderSearch) -> ImageTable:
    """Read a tree whose top level is splits, classes or people; no image is opened.

    Raises:
        DataError: An unknown class folder, numbered folders without an order, no images, an unreadable folder, two
            folders for one split, a folder of classes that is no known split, splits or classes inside a class.
    """
    reader = _TreeReader(tree, search)
    reader.raise_problems()
    notes = [*reader.notes, *reader.describe_ignored(), *reader.describe_others()]
    files, official = recover_official_split(reader.files)
    files, by_name = split_by_name(files)
    notes += filter(None, (official, by_name))
    if not any(files.values()):
        example = next(iter(reader.others.values()), [""])[0]
        hint = f", not {example}{_how_to_read(example)}" if example else ""
        raise DataError(f"{tree}: no images in its class folders; read are {' '.join(IMAGE_SUFFIXES)}{hint}")
    return table_of(tree, files, reader.found, notes)


def table_of(tree: Path, files: Files, found: str, notes: Sequence[str]) -> ImageTable:
    """Return the table of some files, sorted by split, class and natural name; `found` says what was recognised.

    Raises:
        DataError: Some images are in a split, and some are not.
    """
    undivided = [paths[0] for (split, _), paths in files.items() if paths and not split]
    if undivided and any(split for split, _ in files):
        raise DataError(f"found {found} under {tree}: {undivided[0]} is in no split, others are; give each image one")
    classes = order_classes(name for _, name in files)
    order = [(split, name) for split in (*SPLITS, "") for name in classes if files.get((split, name))]
    sizes = [len(files[key]) for key in order]
    codes = np.array([(*SPLITS, "").index(split) for split, _ in order], dtype=np.uint8)
    splits = CategoricalColumn(np.repeat(codes, sizes), (*SPLITS, ""))
    paths = PathColumn.of(path for key in order for path in sorted(files[key], key=_natural))
    labels = np.repeat([classes.index(name) for _, name in order], sizes)
    explanation = f"found {found} under {tree}: {describe_counts(splits, classes)}"
    empty = tuple(key for key, paths in files.items() if not paths)
    rows = np.arange(sum(sizes))
    return ImageTable(tree, "folders", paths, labels, splits, classes, explanation, rows, tuple(notes), empty)


class _TreeReader:
    """Reads a tree; collects unknown folders, so that one message can name all of them."""

    def __init__(self, tree: Path, search: FolderSearch) -> None:
        self.tree, self.search = tree, search
        self.files: Files = {}
        self.notes: list[str] = []
        self.others: dict[str, list[str]] = {}  # suffix to the files that are not read, relative to the tree
        self.numbered: list[Path] = []
        self.unknown_classes: list[Path] = []
        self.ignored_folders: list[Path] = []  # which hold another data set, or none
        self._note_left_out(tree)
        self.splits: dict[str, list[str]] = {}  # to the folders that mean it
        folders = search.split_folders(tree)
        for name, inside in folders.items():
            split = str(search.split(name))
            others = self.splits.setdefault(split, [])
            if sum(not search.is_own_name(other) for other in (*others, name)) > 1:
                what = f"{tree}: {others[0]}/ and {name}/ both mean {split}"
                setting = f"'data.aliases={{{fold(name)}: {split}}}'"
                raise DataError(f"{what}: keep one of them, or type {setting} to take both (null leaves it out)")
            others.append(name)
            self._read_classes(split, inside)
        self.found = " and ".join(f"{name}/" for split in SPLITS for name in self.splits.get(split, []))
        if not folders:
            self._read_classes("", tree)
            people = len(search.people(tree))
            classes, divided = len({name for _, name in self.files}), any(split for split, _ in self.files)
            kind = f"classes of {people} people" if people else "class folders"
            self.found = f"{classes} {kind} {'divided into splits' if divided else 'without a split'}"
            return
        for name in search.list(tree).folders:
            if name not in folders:
                self._look_beside_splits(name)

    def _look_beside_splits(self, name: str) -> None:
        """Leave out a folder beside the splits, or raise DataError where it may be one of them or a class."""
        folder, near = self.tree / name, close_matches(name, SPLITS, cutoff=0.8)
        listing = self.search.list(folder)
        inner = listing.folders if len(listing.folders) == 1 and not self.search.split(listing.folders[0]) else []
        places = [folder, *(folder / name for name in inner)]
        if self.search.split(name) is not None:
            if within := self.search.split_folders(folder):
                what = f"{folder} is a split and holds {'/ and '.join(within)}/, which are splits too"
                raise DataError(f"{what}: move them beside it, or type data.root={folder} to take these alone")
            count = self.search.count(folder)
            what = f"{count_images(count)} without class folders" if count else "no images"
            self.notes.append(f"{name}/ left out: {what} in it")
        elif (near and listing.folders) or any(map(self.search.class_folders, places)) or self.search.people(folder):
            what = f"{folder} holds classes and is not named for a split; say which it is"
            setting = split_setting([name], self.splits)
            raise DataError(f"{what}: type {setting} (train, validation or test; null leaves it out)")
        elif listing.images and canonical(name, self.search.aliases) is not None:
            what = f"{folder} is a class folder beside {self.found}, in no split"
            raise DataError(
                f"{what}: move it into one, as in train/{name}/, or type 'data.aliases={{{fold(name)}: null}}'"
            )
        else:
            self.ignored_folders.append(folder)

    def _note_left_out(self, folder: Path) -> None:
        """Note the folders in a folder that the search has left out."""
        left_out = [(folder / name).relative_to(self.tree) for name in self.search.list(folder).left_out]
        unwanted = [f"{place}/" for place in left_out if fold(place.name) in self.search.unwanted]
        written = [f"{place}/" for place in left_out if f"{place}/" not in unwanted]
        for places, why in ((unwanted, "as data.aliases says"), (written, "results of runs")):
            self.notes += [f"{', '.join(places)} left out: {why}"] * bool(places)

    def _read_classes(self, split: str, folder: Path) -> None:
        people = self.search.people(folder)
        for inside in people.values():
            self._read_classes(split, inside)
        if folder != self.tree:
            self._note_left_out(folder)
        listing = self.search.list(folder)
        if listing.images:
            self.notes.append(f"{count_images(len(listing.images))} beside the class folders of {folder} left out")
        first: dict[tuple[str, str], str] = {}  # split and class to the first folder that means it
        for name in listing.folders:
            inside = folder / name
            emotion = None if name in people else self.search.meaning(name)
            if self.search.own_names and name not in people and not self.search.count(inside):
                self.ignored_folders.append(inside)
            elif emotion is not None:
                self._read_class(split, emotion, inside, first)
            elif name not in people and (found := self.search.split_and_class(name)) and split in ("", found[0]):
                self._read_class(*found, inside, first)
            elif code_of(name) is not None and name not in people:
                self.numbered.append(inside)
            elif name not in people:
                inner = self.search.find(inside)
                if inner.unnamed and not inner.trees:
                    self.unknown_classes.append(inside)
                self.ignored_folders.append(inside)

    def _read_class(self, split: str, emotion: str, folder: Path, first: dict[tuple[str, str], str]) -> None:
        key, name = (split, emotion), folder.name
        if first.setdefault(key, name) != name:
            self.notes.append(f"{first[key]}/ and {name}/ in {folder.parent} both mean {emotion}: merged")
        listing = self.search.list(folder)
        if not (split or listing.images) and listing.folders and all(map(self.search.split, listing.folders)):
            self._note_left_out(folder)
            for inner in listing.folders:  # happy/train, happy/test
                self._read_class(str(self.search.split(inner)), emotion, folder / inner, {})
        else:
            self.files.setdefault(key, []).extend(self._gather(folder, emotion, frozenset()))

    def _gather(self, folder: Path, emotion: str, above: frozenset[str]) -> list[str]:
        """Return the images in and below a class folder. Folders inside may be people or sources, but not classes.

        `above` are the real paths of the folders between the class and `folder`: a link to one of them would never end.
        """
        listing, above = self.search.list(folder), above | {os.path.realpath(folder)}
        self._note_left_out(folder)
        relative = folder.relative_to(self.tree).as_posix()
        paths = [f"{relative}/{name}" for name in listing.images]
        for name in listing.others:
            self.others.setdefault(os.path.splitext(name)[1].lower(), []).append(f"{relative}/{name}")
        for name in listing.special:
            self.others.setdefault(SPECIAL, []).append(f"{relative}/{name}")
        for name in listing.folders:
            meaning = canonical(name, self.search.aliases)
            within = meaning is not None and (meaning != emotion or bool(listing.images))
            if self.search.split(name) is not None or (within and not self.search.own_names):
                what = f"{folder} is a class folder, and the folder {name}/ in it looks like a split or a class"
                raise DataError(f"{what}: arrange the images as train/happy/…, or move it away")
            real = os.path.realpath(folder / name)
            if real not in above and Path(real) not in Path(os.path.realpath(folder)).parents:
                paths += self._gather(folder / name, emotion, above)
        return paths

    def raise_problems(self) -> None:
        """Raise DataError for folders whose meaning is unclear."""
        if self.unknown_classes:
            names = list(dict.fromkeys(folder.name for folder in self.unknown_classes))
            others = f" (and {', '.join(f'{name}/' for name in names[1:6])})" if len(names) > 1 else ""
            what = f"unknown class folder {self.unknown_classes[0]}{others}"
            raise DataError(f"{what}; say what is meant: {class_settings(names)}")
        if self.numbered:
            numbers = [int(code_of(folder.name) or 0) for folder in self.numbered]
            raise DataError(describe_numbers(self.numbered[0].parent, numbers, self.search.code_order))

    def describe_ignored(self) -> list[str]:
        """Return notes on ignored folders: a second copy of this data set, another one, or neither."""
        notes = []
        for folder in self.ignored_folders:
            inner = self.search.find(folder)
            for tree in inner.trees:
                copy = _TreeReader(tree, self.search).files
                theirs, ours = ({key: sorted(paths) for key, paths in files.items()} for files in (copy, self.files))
                what = "a second copy of the same" if theirs == ours else "a copy or another data set, with"
                count = count_images(sum(map(len, copy.values())))
                notes.append(f"{tree.relative_to(self.tree)}/ left out: {what} {count}")
            if inner.unnamed and not inner.trees:
                count = count_images(self.search.count(folder))
                notes.append(f"{folder.relative_to(self.tree)}/ left out: neither a split nor a class, {count}")
        return notes

    def describe_others(self) -> list[str]:
        """Return a note that counts the files in class folders that are not read, by suffix."""
        kinds = [
            f"{len(paths):,} {suffix or 'without a suffix'} ({paths[0]})"
            for suffix, paths in sorted(self.others.items(), key=lambda item: -len(item[1]))
        ]
        if not kinds:
            return []
        more = f" and {len(kinds) - 8} more kinds" if len(kinds) > 8 else ""
        cure = next(filter(None, map(_how_to_read, self.others)), "")
        return [f"left out, as they are no images of a known kind: {', '.join(kinds[:8])}{more}{cure}"]


def _how_to_read(name: str) -> str:
    return '; pip install "fer_lightning[heic]" to read HEIC' if name.lower().endswith((".heic", ".heif")) else ""


def _natural(path: str) -> tuple[list[int | str], str]:
    """Return a sort key that puts 9.jpg before 10.jpg; the path itself settles 1.jpg and 01.jpg."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path)], path
