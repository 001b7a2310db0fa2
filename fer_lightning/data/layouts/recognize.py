"""Recognise the layout of a download and read it into a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from fer_lightning.core.choices import check_choices
from fer_lightning.core.counts import count_images
from fer_lightning.core.errors import DataError
from fer_lightning.core.home import expand_user
from fer_lightning.core.suggestions import did_you_mean
from fer_lightning.data.layouts.csv import read_csv_table
from fer_lightning.data.layouts.csv_files import choose_csv_files, choose_typed_file, has_faces, suggest
from fer_lightning.data.layouts.folder_search import CSV_SUFFIXES, IMAGE_SUFFIXES, FolderSearch, FoundData, State
from fer_lightning.data.layouts.folders import read_folder_table
from fer_lightning.data.layouts.label_file import is_label_file, names_splits, read_label_table
from fer_lightning.data.layouts.naming_advice import class_settings
from fer_lightning.data.table.emotions import CodeOrder, canonical
from fer_lightning.data.table.image_table import ImageTable
from fer_lightning.data.table.split_names import split_of

Layout = Literal["auto", "folders", "people", "csv"]
SORT_THEM = (
    "sort them into folders named for the expressions, happy/, sad/ and so on, or write a labels.csv there with the "
    "columns path and label"
)
ARCHIVES: tuple[str, ...] = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


def read_layout(
    root: Path,
    layout: Layout = "auto",
    aliases: Mapping[str, str | None] | None = None,
    code_order: CodeOrder | None = None,
    seen: dict[str, State] | None = None,
    own_names: bool = False,
) -> ImageTable:
    """Recognise the data set at `root` and list its images, sorted by split, class and natural name; none is opened.

    Class folders take precedence over CSV files, but not over a list of labels that divides their images.
    `image_table.select_classes` checks the classes of the splits.

    Args:
        root: The folder of a download, a wrapper around it, or a CSV file. A leading ~ is the home folder.
        layout: What to look for; `people` are class folders below folders of people, however these are called.
        aliases: The user's own spellings of classes and splits, for example {"bored": "neutral", "eval": "test"}; None
            leaves a folder out.
        code_order: What labels that are numbers mean, a key of `CODE_ORDERS`.
        seen: Filled with the states of what was read, see `FolderSearch`.
        own_names: Whether folders of images are classes under their own names, expressions or not.

    Raises:
        ValueError: `layout` or `code_order` is none of the choices.
        DataError: There is no usable data set at `root`; the message says what to type instead.
    """
    check_choices(read_layout, locals(), prefix="data.")
    root, seen = absolute(root), {} if seen is None else seen
    search = FolderSearch(aliases, seen, code_order, own_names, any_people=layout == "people")
    if not os.path.exists(root):
        raise _missing(root, search)
    if not os.path.isdir(root):
        search.record_state(root)
        return _read_file(root, layout, search)
    found = search.find(root)
    for path in found.csv_files:
        search.record_state(path)
    if found.trees and layout != "csv":
        if len(found.trees) > 1:
            flat = not any(map(search.split_folders, found.trees))
            people = "; or data.layout=people, if these are people or sources of one data set" if flat else ""
            raise DataError(f"{root} holds {len(found.trees)} data sets: type {suggest(found.trees)}{people}")
        if found.trees == [root] and search.split(root.name) is not None and not search.split_folders(root):
            raise DataError(f"{root} is one split of a data set: type its parent, data.root={root.parent}")
        lists = [path for path in [*found.csv_files, *found.lists] if _is_list(path) and names_splits(path, search)]
        if lists and layout == "auto" and len(search.split_folders(found.trees[0])) < 2:
            try:
                divided = _read_lists(lists, list(search.folders_of_images(found.trees[0])), search)
            except DataError as error:
                raise DataError(f"{error}; or type data.layout=folders to take the class folders alone") from error
            if len(set(divided.splits)) > 1:
                return divided
        table = read_folder_table(found.trees[0], search)
        ignored = [path.name for path in found.csv_files if has_faces(path)]
        if not ignored:
            return table
        note = f"class folders are used, {', '.join(ignored)} not; data.layout=csv takes the CSV"
        return replace(table, notes=(*table.notes, note))
    if found.unnamed and layout != "csv" and (lists := list(filter(_is_list, [*found.csv_files, *found.lists]))):
        return _read_lists(lists, found.unnamed, search)
    if found.csv_files and layout in ("auto", "csv") and (layout == "csv" or not found.unnamed):
        files, notes = choose_csv_files(root, found.csv_files, search)
        common = root if len({file.path.parent for file in files}) > 1 else next(iter(files)).path.parent
        table = read_csv_table(files, common, search)
        return replace(table, notes=(*notes, *table.notes))
    raise _nothing(root, found, layout, search)


def absolute(root: str | Path) -> Path:
    """Return the absolute path. Links are not resolved, so that messages show the names that the user typed."""
    return Path(os.path.abspath(expand_user(root)))


def _is_list(path: Path) -> bool:
    return is_label_file(path) and not has_faces(path)  # a column `image` may hold pixels


def _read_lists(lists: list[Path], images: list[Path], search: FolderSearch) -> ImageTable:
    """Read lists of labels; the root of the table is the folder that just holds them and the images."""
    root = Path(os.path.commonpath([*(path.parent for path in lists), *images]))
    return read_label_table(root, lists, images, search)


def _read_file(path: Path, layout: Layout, search: FolderSearch) -> ImageTable:
    name = path.name.lower()
    if path.is_file() and not name.endswith(ARCHIVES) and _is_list(path):
        found = search.find(path.parent)
        images = [*found.unnamed, *(place for tree in found.trees for place in search.folders_of_images(tree))]
        if images:
            return _read_lists([path], images, search)
    if name.endswith(ARCHIVES):
        raise DataError(f"{path} is an archive: unpack it, then type data.root=FOLDER")
    if not name.endswith(CSV_SUFFIXES) or not path.is_file():  # a pipe would be waited for
        raise DataError(f"{path} is neither a folder nor a CSV file; type data.root=… with one of these")
    if layout in ("folders", "people"):
        raise DataError(f"{path} is a file, but data.layout={layout} needs a folder; type data.layout=csv")
    beside = [path.parent / other for other in search.list(path.parent).others if other.lower().endswith(CSV_SUFFIXES)]
    files, notes = choose_typed_file(path, [other for other in beside if other != path], search)
    table = read_csv_table(files, path.parent, search)
    return replace(table, notes=(*notes, *table.notes))


def _nothing(root: Path, found: FoundData, layout: Layout, search: FolderSearch) -> DataError:
    """Return the error for a root without a usable data set, with a hint."""
    listing = search.list(root)
    if layout == "csv":
        return DataError(f"{root}: no CSV file in it or below; type data.root=PATH/fer2013.csv, or data.layout=folders")
    if layout in ("folders", "people") and found.csv_files:
        return DataError(f"{root} holds no class folders but {found.csv_files[0].name}; type data.layout=csv")
    if listing.images and canonical(root.name) is not None:
        above = root.parent.parent if split_of(root.parent.name) is not None else root.parent
        return DataError(f"{root} is the folder of one class: type that of the data set, data.root={above}")
    if listing.images:
        return DataError(f"{root} holds {count_images(len(listing.images))} and no class folders: {SORT_THEM}")
    if found.unnamed:
        names = ", ".join(f"{folder.relative_to(root)}/" for folder in found.unnamed[:5])
        what = f"{root}: images lie in {names}, named for no expression"
        like_classes = [folder for folder in found.unnamed if search.may_be_class(folder.name)]
        if len({folder.name for folder in like_classes}) > 1 and len(like_classes) == len(found.unnamed):
            settings = class_settings(list(dict.fromkeys(folder.name for folder in like_classes)))
            return DataError(f"{what}; say what is meant: {settings}")
        return DataError(f"{what}, and no list of labels that can be read lies beside them: {SORT_THEM}")
    archives = [name for name in listing.others if name.lower().endswith(ARCHIVES)]
    if archives:
        return DataError(f"{root} holds {', '.join(archives[:3])} and no images: unpack it there, and try again")
    if not (listing.folders or listing.others):
        return DataError(f"{root} is empty; type data.root=… with the folder or the CSV file of a data set")
    suffixes = " ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
    return DataError(f"{root}: no images ({suffixes}) and no fer2013.csv in it or below; type another data.root=…")


def _missing(root: Path, search: FolderSearch) -> DataError:
    """Return the error for a missing path, with the names that exist beside it."""
    parent = next(folder for folder in root.parents if os.path.isdir(folder))
    absent = root.relative_to(parent).parts[0]
    listing = search.list(parent)
    near = did_you_mean(absent, (*listing.folders, *(name for name in listing.others if name.endswith(".csv"))))
    hint = f"; {parent} holds {', '.join(listing.folders[:8]) or 'no folders'}"
    return DataError(f"no such folder or file: data.root={root}{near or hint}")
