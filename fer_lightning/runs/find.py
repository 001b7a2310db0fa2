"""Find run folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.core.home import expand_user
from fer_lightning.runs.files import HYDRA, METRICS, STATUS

INSIDE = {"checkpoints", "tensorboard", "csv", HYDRA}  # folders of a run that hold no other run


def find_runs(places: Sequence[str | Path]) -> list[Path]:
    """Return every run folder in or below some places, each once, sorted by name, numbers as numbers.

    Raises:
        ConfigError, DataError: no place is named; one is not there or holds no run.
    """
    if not places:
        raise ConfigError("runs is empty: type the folders of runs or sweeps, or one above them, e.g. outputs/multirun")
    found: dict[Path, Path] = {}
    for place in map(Path, places):
        place = expand_user(place)
        if not place.is_dir():
            where = f"{place} is a file" if place.exists() else f"there is no folder {place}"
            raise DataError(f"{where}; type the folder of a run or a sweep, or one above them, e.g. outputs/multirun")
        inside = [folder for folder in _walk(place) if any((folder / name).is_file() for name in (STATUS, METRICS))]
        found = {folder.resolve(): folder for folder in inside} | found
        if not inside:
            raise DataError(
                f"no run in or below {place}: a run's folder holds {STATUS} or {METRICS}, as python -m"
                " fer_lightning.train writes them; type the folder of a run or a sweep, or one above them"
            )
    return sorted(found.values(), key=_natural)


def run_of(checkpoint: Path) -> Path | None:
    """Return the run folder that a checkpoint lies in, if it lies in one."""
    folder = checkpoint.absolute().parent.parent
    inside = checkpoint.absolute().parent.name in INSIDE
    return folder if inside and any((folder / name).is_file() for name in (STATUS, METRICS)) else None


def _walk(place: Path) -> Iterator[Path]:
    """Yield a folder and all folders below it, links followed, none twice."""
    seen = set()
    for root, folders, _ in os.walk(place, followlinks=True):
        real = os.path.realpath(root)
        inside = sorted(Path(root, name) for name in folders if name not in INSIDE)
        inside.sort(key=Path.is_symlink)  # last, so that a run keeps its own name
        folders[:] = [] if real in seen else [path.name for path in inside]
        if real not in seen:
            yield Path(root)
        seen.add(real)


def _natural(folder: Path) -> list[tuple[bool, int, str]]:
    """Return a sort key by which 2 comes before 10."""
    parts = re.split(r"(\d+)", folder.as_posix())
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
