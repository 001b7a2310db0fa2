"""Find data sets below a folder: lists folders, recognises splits, class folders and wrapper folders."""

from __future__ import annotations

import importlib.util
import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fer_lightning.core.errors import DataError
from fer_lightning.data.table.emotions import canonical
from fer_lightning.data.table.split_names import split_of

IMAGE_SUFFIXES: tuple[str, ...] = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".webp", ".gif", ".tif", ".tiff"),
    *(".pgm", ".ppm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".jpx", ".pcx", ".tga", ".sgi", ".ras"),
    *((".heic", ".heif") if importlib.util.find_spec("pillow_heif") else ()),  # which Pillow needs for these
)
NOT_DATA: frozenset[str] = frozenset({"__macosx", "@eadir", "$recycle.bin", "lost+found", "thumbs.db", "desktop.ini"})
State = tuple[int, int]
"""Of a file or folder: size in bytes, and time of the last change in ns."""
UNKNOWN: State = (-1, -1)
MOST_LEVELS = 6  # kagglehub: datasets/<owner>/<slug>/versions/<n>/images
MOST_FOLDERS = 5_000  # limits the search where a home folder is typed


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


class FolderSearch:
    """Finds data sets below a folder; lists each folder once, and records its state.

    Args:
        aliases: The user's own class spellings, see `emotions.canonical`.
        seen: Filled with the state of every listed folder and every file that was read, by path, taken before that;
            `UNKNOWN` for an unreadable folder, or one that holds a broken link.
    """

    def __init__(self, aliases: Mapping[str, str] | None, seen: dict[str, State]) -> None:
        self.aliases, self._seen = aliases, seen
        self._listings: dict[Path, Listing] = {}

    def record_state(self, path: Path) -> None:
        """Record the state of a file or folder that is about to be read."""
        self._seen.setdefault(str(path), state_of(path))

    def list(self, folder: Path) -> Listing:
        """Return the names in a folder; raise DataError if it cannot be read."""
        if folder in self._listings:
            return self._listings[folder]
        self.record_state(folder)
        listing = Listing()
        try:
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    lower = entry.name.lower()
                    if lower.startswith(".") or lower in NOT_DATA:
                        continue
                    if entry.is_dir():  # asks only where the system does not tell the kinds with the names
                        listing.folders.append(entry.name)
                        continue
                    if entry.is_symlink() and not entry.is_file():
                        listing.broken.append(entry.name)
                    (listing.images if lower.endswith(IMAGE_SUFFIXES) else listing.others).append(entry.name)
        except OSError as error:
            self._seen[str(folder)] = UNKNOWN  # its permissions may change without its time
            raise DataError(f"cannot read the folder {folder}: {error.strerror}; check its permissions") from error
        if listing.broken:
            self._seen[str(folder)] = UNKNOWN  # the target may reappear without a change here
        self._listings[folder] = listing
        return listing

    def find(self, root: Path) -> FoundData:
        """Look for data sets at and below `root`, breadth first, in at most `MOST_FOLDERS` folders.

        Data sets inside a data set are not searched for.

        Raises:
            DataError: `root` cannot be read.
        """
        found = FoundData()
        queue = deque([(root, 0)])
        visited: set[str] = set()  # real paths, because of links
        while queue and len(visited) < MOST_FOLDERS:
            folder, level = queue.popleft()
            real = os.path.realpath(folder)
            if real in visited:
                continue
            visited.add(real)
            try:
                listing = self.list(folder)
            except DataError:
                if level == 0:
                    raise
                continue  # if it belongs to the data set, reading it raises later
            found.csv_files.extend(folder / name for name in listing.others if name.lower().endswith(".csv"))
            if self.class_folders(folder) or self.split_folders(folder):
                found.trees.append(folder)
                continue
            if listing.images:
                found.unnamed.append(folder)
            if level < MOST_LEVELS:
                queue.extend((folder / name, level + 1) for name in listing.folders)
        return found

    def split_folders(self, folder: Path) -> dict[str, Path]:
        """Return, for each sub-folder that is a split, the folder of its classes: itself or a wrapper inside."""
        splits = {}
        for name in filter(split_of, self.list(folder).folders):
            inside = self._unwrap(folder / name)
            inner = self.list(inside).folders
            # Folders of images below train/ count as classes even with unknown names, to report these later.
            if self.class_folders(inside) or any(self.list(inside / other).images for other in inner):
                splits[name] = inside
        return splits

    def class_folders(self, folder: Path) -> Sequence[str]:
        """Return the sub-folders that are named for an expression, or by a number and contain images."""
        return [
            name
            for name in self.list(folder).folders
            if canonical(name, self.aliases) is not None or (name.isdecimal() and self.list(folder / name).images)
        ]

    def _unwrap(self, folder: Path) -> Path:
        """Descend through folders that contain only one folder, as in train/train/angry."""
        for _ in range(MOST_LEVELS):
            listing = self.list(folder)
            if len(listing.folders) != 1 or listing.images or self.class_folders(folder):
                break
            inner = folder / listing.folders[0]
            if not self.list(inner).folders:
                break
            folder = inner
        return folder


def state_of(path: str | Path) -> State:
    """Return the state of a file or folder without opening it; `UNKNOWN` where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return UNKNOWN
    return status.st_size, status.st_mtime_ns
