"""What a run folder says of its run; what is missing or damaged becomes a note."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from fer_lightning.config.rules import MONITORS
from fer_lightning.runs.files import (
    ENVIRONMENT,
    HISTORY,
    LOCK,
    METRICS,
    OVERRIDES,
    PREDICTIONS,
    SETTINGS,
    STATUS,
    RunFiles,
    read_object,
)
from fer_lightning.runs.lock import is_locked
from fer_lightning.runs.settings import Settings, read_settings
from fer_lightning.runs.status import FINISHED, INTERRUPTED, RUNNING, Status, read_status

NUMBERS = ("accuracy", "f1_macro", "epoch", "parameters", "count")  # of metrics.json
DRAWN = re.compile(r"(drawn-.*)-\d+px-\d+ch(-seed\d+)")


@dataclass(frozen=True)
class Scored:
    """Which images were scored, and which of them right.

    Attributes:
        images: hex; the same for the same images with the same labels, however many pixels the network was given.
        correct: bool `(n,)`, in the order of split and path, so that two of the same images compare one by one.
    """

    images: str
    correct: np.ndarray


@dataclass(frozen=True)
class RecordedRun:
    """What a folder says of its run.

    Attributes:
        folder: of the run.
        name: of the folder, with as much of its path as tells it from the others.
        status: how it ended.
        metrics: as in `metrics.json`; empty without.
        environment: as in `environment.json`; empty without.
        settings: what it was told.
        overrides: those typed for it.
        history: one row an epoch.
        scored: from its predictions.
        notes: what is missing or damaged.
    """

    folder: Path
    name: str
    status: Status = field(default_factory=lambda: Status(status=FINISHED))
    metrics: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    overrides: tuple[str, ...] = ()
    history: pd.DataFrame | None = None
    scored: Scored | None = None
    notes: tuple[str, ...] = ()

    @property
    def monitor(self) -> str | None:
        """What chose its checkpoint, such as `val/acc`."""
        named = self.metrics.get("monitor", self.settings.values.get("monitor"))
        return next(iter(self.status.values), None) if named is None else str(named)

    @property
    def mode(self) -> str:
        """`max` or `min`: which end of the monitored value is the good one."""
        return str(self.settings.values.get("mode", MONITORS.get(str(self.monitor), "max")))

    @property
    def value(self) -> float | None:
        """The monitored value of its best checkpoint; None without one, or where it is no number."""
        value = self.metrics.get("monitored")
        value = self.status.values.get(str(self.monitor)) if value is None else value
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None

    @property
    def ranked(self) -> bool:
        """Whether it has a value to be ranked by: it finished, or was stopped by hand after its scores were written."""
        stopped = self.status.status == INTERRUPTED and self.metrics.get("monitored") is not None
        return self.value is not None and (self.status.status == FINISHED or stopped)

    @property
    def epochs(self) -> int | None:
        """How many epochs it was trained for."""
        if self.history is None or "epoch" not in self.history or self.history["epoch"].dropna().empty:
            return None
        return int(self.history["epoch"].max())

    @property
    def fingerprint(self) -> str | None:
        """Of the data."""
        return self._of_data("fingerprint") if self.status.fingerprint is None else self.status.fingerprint

    @property
    def splits(self) -> str | None:
        """Hex, the same for the same images in the same splits; older runs do not say."""
        return self._of_data("splits")

    @property
    def objectives(self) -> dict[str, float]:
        """What else its sweep was to optimise, beside the monitored value."""
        return {name: value for name, value in self.status.values.items() if name != self.monitor}

    def _of_data(self, key: str) -> str | None:
        data = self.environment.get("data")
        return data.get(key) if isinstance(data, dict) else None


def read_runs(folders: Sequence[Path]) -> tuple[list[RecordedRun], list[Path]]:
    """Read run folders.

    Returns:
        the runs, and the folders that hold scores of something else: of `evaluate` or `ensemble`.
    """
    names = _names(folders)
    found = [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]
    trained = [_is_training(run) for run in found]
    runs = [run for run, is_run in zip(found, trained, strict=True) if is_run]
    return runs, [run.folder for run, is_run in zip(found, trained, strict=True) if not is_run]


def read_run(folder: Path, name: str) -> RecordedRun:
    """Read what there is of a run."""
    files = RunFiles(folder)
    status = read_status(folder)
    if status is None and (folder / STATUS).is_file():
        files.notes.append(f"{STATUS} cannot be read")
    overrides = tuple(status.overrides) if status is not None and status.overrides else _read_overrides(folder)
    run = RecordedRun(folder, name, overrides=overrides)
    if status is None or (folder / SETTINGS).parent.is_dir():  # else its settings could not even be composed
        run = replace(
            run,
            metrics=files.read(METRICS, _read_metrics, {}),
            environment=files.read(ENVIRONMENT, read_object, {}),
            settings=files.read(SETTINGS, read_settings, Settings()),
            history=files.read(HISTORY, pd.read_csv, None),
        )
        fingerprint = run.fingerprint if status is None or status.fingerprint is None else status.fingerprint
        scored = files.read(PREDICTIONS, lambda path: read_scored(path, fingerprint), None)
        run = replace(run, scored=scored)
    run = replace(run, status=_settle(folder, status, run.metrics))
    # a run that did not get to its end lacks files for a reason
    complete = run.status.status == FINISHED or run.metrics
    return replace(run, notes=tuple(note for note in files.notes if complete or "cannot be read" in note))


def read_scored(path: Path, fingerprint: str | None) -> Scored:
    """Read which images a predictions table is about, and which are right.

    Args:
        path: of `predictions.csv`.
        fingerprint: of the data; drawn faces are called alike, so that only this tells them apart.

    Raises:
        OSError, ValueError: it is no predictions table.
    """
    table = pd.read_csv(path, usecols=["path", "split", "label", "predicted"], dtype=str)
    table = table.sort_values(["split", "path"], kind="stable")
    drawn = DRAWN.fullmatch(fingerprint) if fingerprint is not None else None
    digest = sha256(("".join(drawn.groups()) if drawn else "").encode())
    digest.update("\n".join(table["split"] + "\t" + table["path"] + "\t" + table["label"]).encode())
    return Scored(digest.hexdigest()[:16], (table["label"] == table["predicted"]).to_numpy(dtype=bool))


def _is_training(run: RecordedRun) -> bool:
    """Whether a folder is that of a training, which a job of an `evaluate` sweep, with its own status, is not."""
    known = run.settings.values
    told = any(key.startswith("optimizer.") for key in known) if known else (run.folder / STATUS).is_file()
    return told or "monitored" in run.metrics


def _settle(folder: Path, status: Status | None, metrics: Mapping[str, Any]) -> Status:
    """Complete what a run says of its end by what it cannot have said."""
    if status is None:  # of a version that kept no account
        return Status(status=INTERRUPTED if metrics.get("interrupted") else FINISHED)
    if status.status == RUNNING and not (folder / LOCK).is_file():  # no job of a sweep, so nothing tells more
        return replace(status, message="it still runs, or ended without a word")
    if status.status == RUNNING and not is_locked(folder):
        return replace(status, status=INTERRUPTED, reason="killed", message="it ended without a word")
    return status


def _read_overrides(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(map(str, yaml.safe_load((folder / OVERRIDES).read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError, yaml.YAMLError):
        return ()


def _read_metrics(path: Path) -> dict[str, Any]:
    content = read_object(path)
    numbers = [(key, content.get(key)) for key in NUMBERS]
    ends = content.get("accuracy_interval", [0, 1])
    numbers += [("accuracy_interval", end) for end in (ends if isinstance(ends, list) and len(ends) == 2 else [""])]
    for key, value in numbers:
        if value is not None and not isinstance(value, (int, float)):
            raise ValueError(f"{key} is no number")
    return content


def _names(folders: Sequence[Path]) -> list[str]:
    """What tells the folders apart: their paths below the deepest that holds all of them."""
    whole = [folder.absolute() for folder in folders]
    if len({folder.name for folder in whole}) == len(whole):
        return [folder.name for folder in whole]
    top = os.path.commonpath([folder.parent for folder in whole])
    return [folder.relative_to(top).as_posix() for folder in whole]
