"""Where under a folder the data set lies: names in a folder, splits, class folders, and the wrappers around them."""

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
MOST_FOLDERS = 5_000  # a home folder typed by mistake is answered at once


@dataclass(frozen=True)
class Listing:
    """Names in one folder, sorted; hidden ones and those of the operating system left out.

    `broken` are the links to nothing; each is among `images` or `others` too.
    """

    folders: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Survey:
    """What lies under a folder: data sets, CSV files, and folders of images in no data set. Shallow ones come first."""

    trees: list[Path] = field(default_factory=list)
    csv_files: list[Path] = field(default_factory=list)
    unnamed: list[Path] = field(default_factory=list)


class Explorer:
    """Lists folders, each once however often it is asked for, and keeps the state in which it found them.

    Attributes:
        seen: Path to the state of every folder that was listed and every other file that was looked into, taken before
            that was done; `UNKNOWN` where it could not be, and for a folder with a link to nothing in it.
    """

    def __init__(self) -> None:
        self.seen: dict[str, State] = {}
        self._listings: dict[Path, Listing] = {}

    def look_at(self, path: Path) -> None:
        """Keep the state of a file that is about to be looked into."""
        self.seen.setdefault(str(path), state_of(path))

    def list(self, folder: Path) -> Listing:
        """Return the names in a folder.

        Raises:
            DataError: The folder cannot be read.
        """
        if folder not in self._listings:
            self.look_at(folder)
            try:
                self._listings[folder] = _list_folder(folder)
            except DataError:
                self.seen[str(folder)] = UNKNOWN  # its permissions may change, and its state does not tell
                raise
            if self._listings[folder].broken:
                self.seen[str(folder)] = UNKNOWN  # a drive may come back with folders or images, and nothing tells
        return self._listings[folder]


def _list_folder(folder: Path) -> Listing:
    """List a folder; no file is opened, nor asked about where the file system gives kinds with the names."""
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


def survey(root: Path, aliases: Mapping[str, str] | None, explorer: Explorer) -> Survey:
    """Look for data sets in and under `root`, through wrappers, and not inside those that are found.

    Shallow folders are looked at first, and no more than `MOST_FOLDERS` of them.

    Args:
        root: An existing folder.
        aliases: The user's own class spellings, see `emotions.canonical`.
        explorer: Lists the folders.

    Raises:
        DataError: `root` cannot be read.
    """
    found = Survey()
    queue = deque([(root, 0)])
    seen: set[str] = set()  # real paths: links may lead back up, or twice to one place
    while queue and len(seen) < MOST_FOLDERS:
        folder, level = queue.popleft()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            listing = explorer.list(folder)
        except DataError:
            if level == 0:
                raise
            continue  # beside the data set, as far as one can tell; inside it, reading it fails later and says so
        found.csv_files.extend(folder / name for name in listing.others if name.lower().endswith(".csv"))
        if class_folders(folder, aliases, explorer) or split_folders(folder, aliases, explorer):
            found.trees.append(folder)
            continue
        if listing.images:
            found.unnamed.append(folder)
        if level < MOST_LEVELS:
            queue.extend((folder / name, level + 1) for name in listing.folders)
    return found


def split_folders(folder: Path, aliases: Mapping[str, str] | None, explorer: Explorer) -> dict[str, Path]:
    """Return, for each sub-folder that is a split, the folder that holds its classes: itself or a wrapper inside."""
    splits = {}
    for name in explorer.list(folder).folders:
        if split_of(name) is None:
            continue
        inside = _unwrap(folder / name, aliases, explorer)
        inner = explorer.list(inside).folders
        # Folders of images under train/ are classes even where their names are unknown: then the names are the mistake.
        if class_folders(inside, aliases, explorer) or any(explorer.list(inside / other).images for other in inner):
            splits[name] = inside
    return splits


def class_folders(folder: Path, aliases: Mapping[str, str] | None, explorer: Explorer) -> list[str]:
    """Return the sub-folders that carry the name of an expression, or a number and images right inside."""
    return [
        name
        for name in explorer.list(folder).folders
        if canonical(name, aliases) is not None or (name.isdecimal() and explorer.list(folder / name).images)
    ]


def _unwrap(folder: Path, aliases: Mapping[str, str] | None, explorer: Explorer) -> Path:
    """Go down through folders that hold nothing but one more folder, as in train/train/angry."""
    for _ in range(MOST_LEVELS):
        listing = explorer.list(folder)
        if len(listing.folders) != 1 or listing.images or class_folders(folder, aliases, explorer):
            break
        inner = folder / listing.folders[0]
        if not explorer.list(inner).folders:
            break
        folder = inner
    return folder
