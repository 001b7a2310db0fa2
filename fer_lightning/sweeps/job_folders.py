"""The jobs in a sweep's folder: finding them, matching them by identity, and placing new ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fer_lightning import __version__
from fer_lightning.config.overrides import override_key
from fer_lightning.core.former_names import current_overrides
from fer_lightning.runs.files import HYDRA, STATUS
from fer_lightning.runs.lock import is_locked
from fer_lightning.runs.status import RUNNING, Status, read_status

_LONGEST = 100  # characters of a folder's name, of which file systems take 255 bytes


@dataclass(frozen=True)
class Job:
    """One run of a sweep: its folder `<number>_<what differs>`, overrides, and the identity of its settings."""

    folder: Path
    overrides: tuple[str, ...] = field(compare=False)
    identity: str = field(compare=False)
    version: str | None = field(default=__version__, compare=False)  # of the package that ran it

    @property
    def number(self) -> int:
        return _number(self.folder)

    @property
    def status(self) -> Status | None:
        """As the job wrote it; None where it has not started."""
        return read_status(self.folder)

    @property
    def state(self) -> str:
        """Its status, `not started`, or `unfinished` where its process ended without writing how."""
        status = self.status
        if status is None:
            return "not started"
        return "unfinished" if status.status == RUNNING and not is_locked(self.folder) else status.status

    @property
    def label(self) -> str:
        """What differs from other jobs, as in the folder's name."""
        return self.folder.name.partition("_")[2]


class Jobs:
    """The jobs in the folder of a sweep, which need not exist, by their identity."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: list[Job] = []
        for place in sorted(folder.glob("[0-9]*"), key=_number):
            status = read_status(place)
            if status is not None and status.identity is not None and _number(place) >= 0:
                overrides = tuple(current_overrides(status.overrides))
                self.known.append(Job(place, overrides, status.identity, status.version))

    def place(self, overrides: Sequence[str], identity: str, label: str, fingerprint: Callable[[], str | None]) -> Job:
        """Return the job of these settings: the one that is there, or a new one, numbered next.

        Another version may have other settings and defaults, and so another identity for the same job: what it recorded
        is compared by overrides instead. Other images make another job: `fingerprint` returns that of the images as
        they are now, and is called where a job has recorded one. The label names a new folder.
        """
        for position, job in enumerate(self.known):
            other_version = job.version != __version__
            if job.identity == identity or (other_version and _same_overrides(job.overrides, overrides)):
                status = job.status
                trained_on = None if status is None else status.fingerprint
                # images that cannot be read now are assumed to be the same
                if trained_on is None or fingerprint() in (None, trained_on):
                    # started with what is typed: a file in its folder may only say that it is the same
                    self.known[position] = replace(job, overrides=tuple(overrides), identity=identity)
                    return self.known[position]
        self.known.append(Job(self._new_folder(label), tuple(overrides), identity))
        return self.known[-1]

    def _new_folder(self, label: str) -> Path:
        """Return the folder of such a job whose process ended before the run started, or a new one."""
        taken = {job.folder for job in self.known}
        for place in sorted(set(self.folder.glob("[0-9]*")) - taken, key=_number):
            unstarted = (place / HYDRA).is_dir() and not (place / STATUS).exists()
            if unstarted and place.name == file_name(_number(place), label):
                return place
        folders = {place for place in self.folder.glob("*") if place.is_dir()} | taken
        return self.folder / file_name(max(map(_number, folders), default=-1) + 1, label)


def label_of(overrides: Mapping[str, Any]) -> str:
    """Return what differs as `model=vgg16,lr=0.001`: the last word of each key where that is unique."""
    last = [key.rpartition(".")[2] for key in overrides]
    names = [short if last.count(short) == 1 else key for key, short in zip(overrides, last, strict=True)]
    return ",".join(f"{name}={value}" for name, value in zip(names, overrides.values(), strict=True))


def file_name(number: int, label: str) -> str:
    """Return the name of a job's folder, valid on every file system and short enough for TensorBoard."""
    plain = re.sub(r"[^\w=.,+-]+", "-", label).strip("-")
    if len(plain) > _LONGEST and "," in plain[:_LONGEST]:
        plain = plain[: plain.rindex(",", 0, _LONGEST)]  # keep whole settings
    return f"{number}_{plain[:_LONGEST]}".rstrip("_.,-")


def _same_overrides(recorded: Sequence[str], typed: Sequence[str]) -> bool:
    """Whether a job was started with these overrides, apart from those that its sweep added at their end."""
    old, new = ({override_key(text): text for text in reversed(texts)} for texts in (recorded, typed))
    if "ckpt_path" not in new:
        old.pop("ckpt_path", None)  # the last checkpoint of a job that was continued
    new.pop("security.allow", None)
    own = ("sweep.", "hydra.", "machine.jobs", "security.")
    return {key: text for key, text in old.items() if not key.startswith(own)} == new


def _number(folder: Path) -> int:
    found = re.match(r"\d+(?=_|$)", folder.name)
    return int(found[0]) if found else -1
