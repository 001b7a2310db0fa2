"""Find data sets below a folder: lists folders, recognises splits, class folders and wrapper folders."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.file_state import UNKNOWN, State, state_of
from fer_lightning.data.table.emotions import canonical, fold

IMAGE_SUFFIXES: tuple[str, ...] = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
SPLIT_NAMES: dict[str, str] = {
    **dict.fromkeys(("train", "training", "trainset", "trainingset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "valset", "validationset", "devset"), "validation"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
}
NOT_DATA: frozenset[str] = frozenset({"__macosx", "@eadir", "$recycle.bin", "lost+found", "thumbs.db", "desktop.ini"})
MOST_LEVELS = 6  # kagglehub: datasets/<owner>/<slug>/versions/<n>/images
MOST_FOLDERS = 5_000  # limits the search if somebody types a home folder


@dataclass(frozen=True)
class Listing:
    """Names in one folder, sorted, without hidden files and those of the operating system.

    `broken` are broken links; each is also in `images` or `others`.
    """

    folders: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FoundData:
    """Data sets, CSV files and other folders of images below a folder, shallow ones first."""

    trees: list[Path] = field(default_factory=list)
    csv_files: list[Path] = field(default_factory=list)
    unnamed: list[Path] = field(default_factory=list)


class FolderLister:
    """Lists each folder once, and records its state.

    Attributes:
        seen: Path to the state of every listed folder and every file that was read, taken before that; `UNKNOWN` for an
            unreadable folder, or one that holds a broken link.
    """

    def __init__(self) -> None:
        self.seen: dict[str, State] = {}
        self._listings: dict[Path, Listing] = {}

    def record_state(self, path: Path) -> None:
        """Record the state of a file or folder that is about to be read."""
        self.seen.setdefault(str(path), state_of(path))

    def list(self, folder: Path) -> Listing:
        """Return the names in a folder.

        Raises:
            DataError: The folder cannot be read.
        """
        if folder not in self._listings:
            self.record_state(folder)
            try:
                self._listings[folder] = _list_folder(folder)
            except DataError:
                self.seen[str(folder)] = UNKNOWN  # its permissions may change without its time
                raise
            if self._listings[folder].broken:
                self.seen[str(folder)] = UNKNOWN  # the target may reappear without a change here
        return self._listings[folder]


def _list_folder(folder: Path) -> Listing:
    """List a folder without opening files, or querying them where the file system tells their kinds."""
    listing = Listing()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                lower = name.lower()
                if name.startswith(".") or lower in NOT_DATA:
                    continue
                if entry.is_dir():
                    listing.folders.append(name)
                    continue
                if entry.is_symlink() and not entry.is_file():
                    listing.broken.append(name)
                if lower.endswith(IMAGE_SUFFIXES):
                    listing.images.append(name)
                else:
                    listing.others.append(name)
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}; check its permissions") from error
    for names in (listing.folders, listing.images, listing.others, listing.broken):
        names.sort()
    return listing


def split_of(name: str) -> str | None:
    """Return the split that a folder name stands for ("Train", "valid", "test_set"), or None."""
    return SPLIT_NAMES.get(fold(name))


def find_data(root: Path, aliases: Mapping[str, str] | None, lister: FolderLister) -> FoundData:
    """Look for data sets at and below `root`, breadth first, in at most `MOST_FOLDERS` folders.

    Data sets inside a data set are not searched for.

    Args:
        root: An existing folder.
        aliases: The user's own class spellings, see `emotions.canonical`.
        lister: Lists the folders.

    Raises:
        DataError: `root` cannot be read.
    """
    found = FoundData()
    queue = deque([(root, 0)])
    seen: set[str] = set()  # real paths, because of links
    while queue and len(seen) < MOST_FOLDERS:
        folder, level = queue.popleft()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            listing = lister.list(folder)
        except DataError:
            if level == 0:
                raise
            continue  # if it belongs to the data set, reading it raises later
        found.csv_files.extend(folder / name for name in listing.others if name.lower().endswith(".csv"))
        if class_folders(folder, aliases, lister) or split_folders(folder, aliases, lister):
            found.trees.append(folder)
            continue
        if listing.images:
            found.unnamed.append(folder)
        if level < MOST_LEVELS:
            queue.extend((folder / name, level + 1) for name in listing.folders)
    return found


def split_folders(folder: Path, aliases: Mapping[str, str] | None, lister: FolderLister) -> dict[str, Path]:
    """Return, for each sub-folder that is a split, the folder that holds its classes: itself or a wrapper inside."""
    splits = {}
    for name in lister.list(folder).folders:
        if split_of(name) is None:
            continue
        inside = _unwrap(folder / name, aliases, lister)
        inner = lister.list(inside).folders
        # Folders of images below train/ count as classes even with unknown names, to report these later.
        if class_folders(inside, aliases, lister) or any(lister.list(inside / other).images for other in inner):
            splits[name] = inside
    return splits


def class_folders(folder: Path, aliases: Mapping[str, str] | None, lister: FolderLister) -> list[str]:
    """Return the sub-folders that are named for an expression, or by a number and contain images."""
    return [
        name
        for name in lister.list(folder).folders
        if canonical(name, aliases) is not None or (name.isdecimal() and lister.list(folder / name).images)
    ]


def _unwrap(folder: Path, aliases: Mapping[str, str] | None, lister: FolderLister) -> Path:
    """Descend through folders that contain only one folder, as in train/train/angry."""
    for _ in range(MOST_LEVELS):
        listing = lister.list(folder)
        if len(listing.folders) != 1 or listing.images or class_folders(folder, aliases, lister):
            break
        inner = folder / listing.folders[0]
        if not lister.list(inner).folders:
            break
        folder = inner
    return folder
