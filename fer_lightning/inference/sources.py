"""What `source=` names, one after the other: photographs, those of folders and globs, addresses.

Everything is found while it is used, so that the names of one folder at most are held in memory.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.core.home import expand_user
from fer_lightning.core.suggestions import did_you_mean
from fer_lightning.data.layouts.folder_search import IMAGE_SUFFIXES, NOT_DATA
from fer_lightning.data.layouts.own_products import is_product
from fer_lightning.inference.address import Address
from fer_lightning.inference.pictures import Picture, read_image
from fer_lightning.inference.video.frames import VIDEO_SUFFIXES, Reading, Video, is_camera, is_video

# folders of pictures that the verbs write, and the table that is beside each when it is complete
PICTURES = {"annotated": "predictions.csv", "heat_maps": "explanations.csv"}
MOST_SHOWN = 5  # of the names that are missing
ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


class Source(Protocol):
    """Yields the pictures of a photograph, a video, a camera or an address, in order; opens it when they are asked for.

    What cannot be opened yields a picture without pixels, whose note says why.
    """

    @property
    def file(self) -> str:
        """The name of the file as it was found below what was typed, or the address."""
        ...

    def __iter__(self) -> Iterator[Picture]: ...


@dataclass(frozen=True)
class Photograph:
    """A file that holds one picture."""

    file: str

    def __iter__(self) -> Iterator[Picture]:
        yield read_image(self.file)


@dataclass(frozen=True)
class Unopened:
    """A folder that cannot be read."""

    file: str
    note: str

    def __iter__(self) -> Iterator[Picture]:
        yield Picture(None, self.file, self.note)


def open_source(file: str, reading: Reading) -> Source:
    """Return what a file, an address or the camera of a number holds, by its name; `reading` is of videos."""
    if is_video(file):
        return Video(file, reading)
    return Address(file, reading) if ADDRESS.match(file) else Photograph(file)


@dataclass
class Sources:
    """All that was typed after `source=`; each iteration searches the folders anew.

    Attributes:
        names: as they were typed.
        written: a folder that is left out, because pictures are written to it meanwhile.
        left_out: how many files in folders the last iteration passed over, by suffix.
        reading: how videos are read.
    """

    names: Sequence[str]
    written: Path | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    reading: Reading = field(default_factory=Reading)

    @classmethod
    def named(
        cls,
        source: str | int | Sequence[str | int],
        written: Path | None = None,
        reading: Reading | None = None,
    ) -> Sources:
        """Return the sources of the setting, a name or a list of names.

        Raises:
            ConfigError: nothing is named.
            DataError: names stand for nothing that is there; the message lists them, each with near ones.
        """
        names = [source] if isinstance(source, (str, int)) else source
        typed = [str(name) for name in dict.fromkeys(names) if str(name).strip()]
        found = cls(typed, written, reading=reading or Reading())
        if not found.names:
            raise ConfigError("no source is named: type a photograph or a folder, as in fer predict photo.jpg")
        missing = [name for name in found.names if not found._is_there(name)]
        if missing:
            said = [f"there is no {name}{_near(name)}" for name in missing[:MOST_SHOWN]]
            rest = len(missing) - len(said)
            raise DataError("; ".join(said) + (f"; and {rest} others are missing" if rest else ""))
        return found

    def __iter__(self) -> Iterator[Source]:
        self.left_out.clear()
        visited: set[str] = set()
        for name in self.names:
            path = _path(name)
            if os.path.isdir(path):
                yield from self._in_folder(path, visited)
            elif os.path.lexists(path) or ADDRESS.match(name) or is_camera(name):
                yield open_source(path, self.reading)
            else:
                yield from self._by_pattern(path)

    def _is_there(self, name: str) -> bool:
        found = bool(ADDRESS.match(name)) or is_camera(name) or os.path.lexists(_path(name))
        return found or next(self._by_pattern(_path(name)), None) is not None

    def _in_folder(self, folder: str, visited: set[str]) -> Iterator[Source]:
        """Yield what a folder holds: its files, then those of the folders in it, by name; links may lead in circles."""
        real = os.path.realpath(folder)
        if real in visited or (self.written is not None and real == os.path.realpath(self.written)):
            return
        visited.add(real)
        folders = []
        try:
            with os.scandir(folder) as entries:
                names = sorted((entry.name for entry in entries), key=natural)
        except OSError as error:
            yield Unopened(folder, f"cannot be opened: {error.strerror or error}")
            return
        for name in names:
            path, lower = name if folder == "." else os.path.join(folder, name), name.lower()
            if lower.startswith(".") or lower in NOT_DATA:
                continue
            if os.path.isdir(path):
                folders.append(path)
            elif lower.endswith((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)):
                yield open_source(path, self.reading)
            else:
                self.left_out[os.path.splitext(lower)[1] or "without a suffix"] += 1
        for path in folders:
            if is_product(path, IMAGE_SUFFIXES) or _are_copies(path):
                self.left_out["results of fer_lightning"] += 1
            else:
                yield from self._in_folder(path, visited)

    def _by_pattern(self, pattern: str) -> Iterator[Source]:
        """Yield what a glob names; with `**`, the pictures in and below a folder."""
        parts = pattern.split("/")
        if "**" not in parts:
            for path in sorted(glob.iglob(pattern), key=natural):
                yield from self._in_folder(path, set()) if os.path.isdir(path) else (open_source(path, self.reading),)
            return
        fixed = next(at for at, part in enumerate(parts) if glob.has_magic(part))
        folder = "/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else ".")
        kept = self.left_out.copy()
        for source in self._in_folder(folder, set()):
            if _matches(os.path.relpath(source.file, folder).split("/"), parts[fixed:]):
                yield source
        self.left_out = kept  # nobody asked for the others


def _are_copies(folder: str) -> bool:
    """Return whether a folder holds the pictures that an earlier `predict` or `explain` wrote."""
    above, name = os.path.split(folder)
    return name in PICTURES and os.path.isfile(os.path.join(above, PICTURES[name]))


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts the numbers in names by their value.

    >>> sorted(["img10.png", "img2.png"], key=natural)
    ['img2.png', 'img10.png']
    """
    return [(int(part), "") if part.isdecimal() else (-1, part.casefold()) for part in re.split(r"(\d+)", name)]


def _path(name: str) -> str:
    return str(expand_user(name)) if name.startswith("~") else name


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether the parts of a path fit those of a glob, of which `**` stands for any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**" and _matches(parts, pattern[1:]):
        return True
    return bool(parts) and fnmatch.fnmatch(parts[0], pattern[0]) and _matches(parts[1:], pattern[pattern[0] != "**" :])


def _near(name: str) -> str:
    folder, last = os.path.split(_path(name).rstrip("/"))
    try:
        others = os.listdir(folder or ".")
    except OSError:
        return ""
    return did_you_mean(last, others, prefix=f"{folder}/" if folder else "")
