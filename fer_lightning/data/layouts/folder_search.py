"""Find data sets below a folder: lists folders, recognises splits, class folders and wrapper folders."""

from __future__ import annotations

import importlib.util
import os
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.own_products import RECORD, RUN_FILES, RUN_FOLDERS, is_product
from fer_lightning.data.layouts.vocabulary import Vocabulary
from fer_lightning.data.table.emotions import CodeOrder, canonical, code_of, fold

IMAGE_SUFFIXES: tuple[str, ...] = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".webp", ".gif", ".tif", ".tiff"),
    *(".pgm", ".ppm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".jpx", ".pcx", ".tga", ".sgi", ".ras"),
    *((".heic", ".heif") if importlib.util.find_spec("pillow_heif") else ()),  # which Pillow needs for these
)
NOT_DATA: frozenset[str] = frozenset({"__macosx", "@eadir", "$recycle.bin", "lost+found", "thumbs.db", "desktop.ini"})
State = tuple[int, int]
"""Of a file or folder: size in bytes, and time of the last change in ns."""
UNKNOWN: State = (-1, -1)
_PERSON = re.compile(r"(?i)(person|people|subject|subj|sub|participant|actor|speaker|user|id|s|p)?[\s_-]*\d+")
CSV_SUFFIXES = (".csv", ".tsv")
_LIST = re.compile(r"(?i).*\.jsonl|.*label.*\.txt")
MOST_LEVELS = 6  # kagglehub: datasets/<owner>/<slug>/versions/<n>/images
MOST_FOLDERS = 5_000  # limits the search where a home folder is typed


@dataclass(frozen=True)
class Listing:
    """Names in one folder, sorted, without hidden files, those of the operating system and the results of runs.

    `broken` are broken links; each is also in `images` or `others`. `special` are pipes, sockets and devices, which are
    never opened, and `left_out` folders that the user leaves out, or that a run wrote.
    """

    folders: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FoundData:
    """Data sets, CSV files and other folders of images below a folder, shallow ones first."""

    trees: list[Path] = field(default_factory=list)
    csv_files: list[Path] = field(default_factory=list)
    lists: list[Path] = field(default_factory=list)  # other files that may be lists of labels
    unnamed: list[Path] = field(default_factory=list)


class FolderSearch(Vocabulary):
    """Finds data sets below a folder; lists each folder once, and records its state.

    Args:
        aliases, code_order, own_names: See `Vocabulary`.
        seen: Filled with the state of every listed folder and every file that was read, by path, taken before that;
            `UNKNOWN` for an unreadable folder, or one that holds a broken link.
        any_people: Whether folders of people may have any name, not just a number as in person01.
    """

    def __init__(
        self,
        aliases: Mapping[str, str | None] | None,
        seen: dict[str, State],
        code_order: CodeOrder | None = None,
        own_names: bool = False,
        any_people: bool = False,
    ) -> None:
        super().__init__(aliases, code_order, own_names)
        self._any_people, self._seen = any_people, seen
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
            with os.scandir(folder) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
            is_run = any(entry.name == RECORD for entry in entries)
            for entry in entries:
                lower = entry.name.lower()
                if not (lower.startswith(".") or lower in NOT_DATA or (is_run and lower in RUN_FILES)):
                    self._add(listing, entry, lower, is_run)
        except OSError as error:
            self._seen[str(folder)] = UNKNOWN  # its permissions may change without its time
            raise DataError(f"cannot read the folder {folder}: {error.strerror}; check its permissions") from error
        if listing.broken:
            self._seen[str(folder)] = UNKNOWN  # the target may reappear without a change here
        self._listings[folder] = listing
        return listing

    def _add(self, listing: Listing, entry: os.DirEntry[str], lower: str, is_run: bool) -> None:
        is_image = lower.endswith(IMAGE_SUFFIXES)
        try:  # asks the system only where it does not tell the kinds with the names
            is_file, is_folder = entry.is_file(), entry.is_dir()
        except OSError:  # a link to itself
            if self.is_known(entry.name):
                raise  # a class is missing
            is_file, is_folder = False, False
        if is_folder:
            is_result = not self.is_known(entry.name) and is_product(entry.path, IMAGE_SUFFIXES)
            own = is_result or (is_run and lower in RUN_FOLDERS)
            unwanted = own or fold(entry.name) in self.unwanted
            (listing.left_out if unwanted else listing.folders).append(entry.name)
        elif not is_file and not (entry.is_symlink() and not os.path.exists(entry.path)):
            listing.special.append(entry.name)
        else:
            if not is_file:
                listing.broken.append(entry.name)
            (listing.images if is_image else listing.others).append(entry.name)

    def count(self, folder: Path) -> int:
        """Return the number of images in and below a folder."""
        return sum(len(self.list(place).images) for place in self.folders_of_images(folder))

    def folders_of_images(self, folder: Path, levels: int = 0) -> Sequence[Path]:
        """Return the folders in and below a folder, and itself, that hold images."""
        listing = self.list(folder)
        deeper = listing.folders if levels < MOST_LEVELS else []
        below = [place for name in deeper for place in self.folders_of_images(folder / name, levels + 1)]
        return [folder, *below] if listing.images else below

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
            found.csv_files.extend(folder / name for name in listing.others if name.lower().endswith(CSV_SUFFIXES))
            found.lists.extend(folder / name for name in listing.others if _LIST.fullmatch(name))
            if self.class_folders(folder) or self.split_folders(folder) or self.people(folder):
                found.trees.append(folder)
                continue
            if listing.images:
                found.unnamed.append(folder)
            if level < MOST_LEVELS:
                queue.extend((folder / name, level + 1) for name in listing.folders)
        return found

    def split_folders(self, folder: Path) -> dict[str, Path]:
        """Return, for each sub-folder that is a split with labels, the folder of its classes: itself or a wrapper."""
        splits = {}
        for name in filter(self.split, self.list(folder).folders):
            inside = self.unwrap(folder / name)
            # Several folders of images below train/ count as classes even with unknown names, to report these later;
            # a single one, such as test/unknown, holds images without labels.
            filled = [other for other in self.list(inside).folders if self.list(inside / other).images]
            if self.class_folders(inside) or self.people(inside) or len(filled) > 1:
                splits[name] = inside
        return splits

    def class_folders(self, folder: Path) -> Sequence[str]:
        """Return the sub-folders that are named for an expression, or, several, by numbers and contain images.

        With `own_names`, see `_own_class_folders`.
        """
        if self.own_names:
            return self._own_class_folders(folder)
        folders = self.list(folder).folders
        named = [name for name in folders if canonical(name, self.aliases) or self.split_and_class(name)]
        numbers = [name for name in folders if name not in named and code_of(name) is not None]
        numbers = [name for name in numbers if self.list(folder / name).images]
        return [*named, *numbers] if named or len(numbers) > 1 else []

    def _own_class_folders(self, folder: Path) -> Sequence[str]:
        """Return two or more sub-folders that contain images, in them or below.

        Where those below have names in common, they are rather data sets, or people.
        """
        names = [name for name in self.list(folder).folders if self.split(name) is None]
        filled = [name for name in names if self.list(folder / name).images]
        if len(filled) < 2 and not self._any_people:
            nested = [name for name in names if self.may_be_class(name) and not self.split_folders(folder / name)]
            filled = [name for name in nested if self.count(folder / name)]
            below = [inner for name in filled for inner in self.list(folder / name).folders if not self.split(inner)]
            filled = filled if len(below) == len(set(below)) else []
        return filled if len(filled) > 1 else []

    def people(self, folder: Path) -> dict[str, Path]:
        """Return the sub-folders that are people with class folders, as in person01/happy, where their names say so."""
        folders = self.list(folder).folders
        if len(folders) < 2 or self.class_folders(folder):
            return {}
        named = self._any_people and not any(map(self.split, folders))
        if not (named or all(map(_PERSON.fullmatch, folders))):
            return {}
        return {name: folder / name for name in folders if self.class_folders(folder / name)}

    def unwrap(self, folder: Path) -> Path:
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
