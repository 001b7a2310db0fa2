"""Which of several CSV files to read: the one that holds all faces, or those that hold one split each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.csv_file import CsvFile, open_csv
from fer_lightning.data.layouts.folder_search import FolderSearch
from fer_lightning.data.layouts.naming_advice import split_setting
from fer_lightning.data.table.emotions import fold
from fer_lightning.data.table.image_table import SPLITS
from fer_lightning.data.table.split_names import split_of

# The names used by the competition. Of several in one folder the first is read: they hold the same rows.
KNOWN_FILES: tuple[str, ...] = ("fer2013.csv", "icml_face_data.csv", "train.csv")


def choose_csv_files(
    root: Path, paths: Sequence[Path], search: FolderSearch
) -> tuple[dict[CsvFile, str], tuple[str, ...]]:
    """Return the files to read, each with the split that its name stands for or "", and notes for the user.

    Files in the folder `root` or below it that are all named for a split, as train.csv, val.csv and test.csv, are read
    together. A file without labels, or that the user does not want, is left out.

    Raises:
        DataError: no file holds labels and pixels, or it takes a guess which one is meant.
    """
    opened, error = [], None
    for path in sorted(paths, key=_rank):
        try:
            opened.append(open_csv(path))
        except DataError as caught:
            error = error or caught
    unwanted = [file for file in opened if fold(file.path.stem) in search.unwanted]
    usable = [file for file in opened if file.has_faces and file not in unwanted]
    if not usable:
        if error is not None:
            raise error
        opened[0].require_faces()
    notes = [
        f"{file.path.relative_to(root).as_posix()} left out: pixels without labels"
        for file in opened
        if file.pixels and not file.labels
    ]
    notes += [f"{file.path.relative_to(root).as_posix()} left out: as data.aliases says" for file in unwanted]
    if len(usable) == 1:
        return {usable[0]: _split_of_one(usable[0].path, search)}, tuple(notes)
    first, *others = usable
    if all(file.path.name.lower() in KNOWN_FILES and file.path.parent == first.path.parent for file in usable):
        names = ", ".join(file.path.name for file in others)
        return {first: ""}, (f"{first.path.name} is read, {names} beside it is not: the same faces", *notes)
    splits = {file: split_of_path(file.path.relative_to(root), search) for file in usable}
    if all(splits.values()):
        in_order = sorted(usable, key=lambda file: SPLITS.index(str(splits[file])))
        return {file: str(splits[file]) for file in in_order}, tuple(notes)
    unknown = [file.path for file, split in splits.items() if split is None]
    parts = [file.path.name for file, split in splits.items() if split is not None]
    if parts and len({path.stem for path in unknown}) == len(unknown):
        names = ", ".join(path.name for path in unknown)
        setting = split_setting([path.stem for path in unknown], None)
        what = f"{root} holds {', '.join(parts)}, and {names} beside them; say what is meant: {setting}"
        raise DataError(f"{what} (train, validation or test; null leaves one out), or {suggest(unknown)} alone")
    raise DataError(f"{root} holds several CSV files of faces: type {suggest([file.path for file in usable])}")


def choose_typed_file(
    path: Path, beside: Sequence[Path], search: FolderSearch
) -> tuple[dict[CsvFile, str], tuple[str, ...]]:
    """Return the same for a CSV that the user typed; `beside` are the others in its folder."""
    file = open_csv(path)
    file.require_faces()
    names = []
    if split_of_path(Path(path.name), search) is not None:
        splits = [other for other in beside if split_of_path(Path(other.name), search) is not None]
        names = [other.name for other in splits if has_faces(other)]
    notes = [f"{', '.join(names)} beside it not read; data.root={path.parent} reads all"] if names else []
    return {file: _split_of_one(path, search)}, tuple(notes)


def split_of_path(path: Path, search: FolderSearch) -> str | None:
    """Return the split that the name of a file, as ck_train.csv, or else of its folder, as val/data.csv, stands for."""
    for name in (path.stem, *(folder.name for folder in path.parents)):
        whole = search.split(name)
        if whole is not None:
            return whole
        words = {split for word in re.split(r"[\W_]+", name) if (split := split_of(word)) is not None}
        if len(words) == 1:
            return words.pop()
    return None


def suggest(paths: Sequence[Path]) -> str:
    """Return "data.root=A or data.root=B"."""
    more = f" or one of {len(paths) - 5} more" if len(paths) > 5 else ""
    return " or ".join(f"data.root={path}" for path in paths[:5]) + more


def has_faces(path: Path) -> bool:
    """Return whether the header of a CSV names both labels and pixels; False for other files."""
    try:
        return open_csv(path).has_faces
    except DataError:
        return False


def _split_of_one(path: Path, search: FolderSearch) -> str:
    """Return the split of a file that is read alone: "" for train.csv, which may hold all there is."""
    split = search.split(path.stem)
    return "" if split in (None, "train") else str(split)


def _rank(path: Path) -> int:
    return KNOWN_FILES.index(path.name.lower()) if path.name.lower() in KNOWN_FILES else len(KNOWN_FILES)
