"""What `source=` names, opened by kind: photographs, those of folders and globs; each yields its pictures."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.core.home import expand_user
from fer_lightning.core.suggestions import did_you_mean
from fer_lightning.data.layouts.folder_search import IMAGE_SUFFIXES, NOT_DATA
from fer_lightning.inference.pictures import Picture, read_image


class Source(Protocol):
    """A photograph, a video, a camera, an address: what yields pictures, in order, and is opened when they are asked.

    What cannot be opened yields one picture without pixels, whose note says why.
    """

    @property
    def file(self) -> str: ...

    def __iter__(self) -> Iterator[Picture]: ...


@dataclass(frozen=True)
class Photograph:
    """A file that holds one picture."""

    file: str

    def __iter__(self) -> Iterator[Picture]:
        yield read_image(self.file)


def open_source(file: str) -> Source:
    """Return what a file holds, by its suffix."""
    return Photograph(file)


@dataclass
class Sources:
    """All that was typed after `source=`, found anew at each iteration: only the names of one folder are held.

    Attributes:
        names: as they were typed.
        output_dir: a folder that is left out, because it is written to meanwhile.
        left_out: how many files of each suffix the last iteration passed over, in folders.
    """

    names: Sequence[str]
    output_dir: Path | None = None
    left_out: Counter[str] = field(default_factory=Counter)

    @classmethod
    def named(cls, source: Any, output_dir: Path | None = None) -> Sources:
        """Return the sources of a setting, one name or a list of names.

        Raises:
            ConfigError: nothing is named.
            DataError: a name stands for nothing that is there; the message lists all of these.
        """
        names = [source] if isinstance(source, (str, int)) else list(source)
        names = [str(name) for name in dict.fromkeys(names)]
        if not names:
            raise ConfigError("no source is named: type the photograph or folder, as in fer predict photo.jpg")
        missing = [name for name in names if not is_address(name) and not _is_there(name)]
        if missing:
            raise DataError("; ".join(f"there is no {name}{_near(name)}" for name in missing))
        return cls(names, output_dir)

    def __iter__(self) -> Iterator[Source]:
        self.left_out.clear()
        for name in self.names:
            path = str(expand_user(name))
            if os.path.isdir(path):
                yield from self._in_folder(path, set())
            elif os.path.lexists(path):
                yield open_source(path)
            else:
                for found in sorted(glob.glob(path, recursive=True), key=natural):
                    if os.path.isdir(found):
                        continue
                    yield open_source(found)

    def _in_folder(self, folder: str, visited: set[str]) -> Iterator[Source]:
        real = os.path.realpath(folder)
        if real in visited or (self.output_dir is not None and real == os.path.realpath(self.output_dir)):
            return
        visited.add(real)
        with os.scandir(folder) as scanned:
            entries = sorted(
                (entry for entry in scanned if entry.name[:1] != "." and entry.name.lower() not in NOT_DATA),
                key=lambda entry: natural(entry.name),
            )
        for entry in entries:
            if entry.is_dir():
                yield from self._in_folder(entry.path, visited)
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                yield open_source(entry.path)
            else:
                self.left_out[os.path.splitext(entry.name)[1].lower()] += 1


def is_address(name: str) -> bool:
    """Return whether a source is an address, such as https://…, and no file."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", name) is not None


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in names by value: img2 before img10."""
    return [(int(part), "") if part.isdecimal() else (-1, part.casefold()) for part in re.split(r"(\d+)", name)]


def _is_there(name: str) -> bool:
    path = str(expand_user(name))
    return os.path.lexists(path) or next(glob.iglob(path, recursive=True), None) is not None


def _near(name: str) -> str:
    folder, last = os.path.split(str(expand_user(name)))
    try:
        others = os.listdir(folder or ".")
    except OSError:
        return ""
    return did_you_mean(last, others, prefix=f"{folder}/" if folder else "")
