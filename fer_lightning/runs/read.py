"""Read a run from its folder; what is missing or damaged becomes a note."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fer_lightning.config.selection import MONITORS
from fer_lightning.core.command_words import path_setting
from fer_lightning.core.file_names import ON_DISK
from fer_lightning.core.whole_checkpoints import whole_checkpoints
from fer_lightning.runs import files
from fer_lightning.runs.files import RunFiles
from fer_lightning.runs.lock import is_locked
from fer_lightning.runs.run_lock import Process, host_of, process_of
from fer_lightning.runs.schema import is_number, read_environment, read_metrics
from fer_lightning.runs.settings import Settings, read_settings, read_yaml, with_choices
from fer_lightning.runs.status import FINISHED, INTERRUPTED, RUNNING, Status, read_status
from fer_lightning.runs.tables import read_history, read_names


@dataclass(frozen=True)
class ScoredImages:
    """Which images were scored, and for which the prediction was right."""

    digest: str  # hex; the same for the same images with the same labels, at any image size
    correct: np.ndarray  # bool (n,), sorted by split and path, so that two runs on the same images compare one by one


@dataclass(frozen=True)
class RecordedRun:
    """A run as its folder records it; metrics and environment are empty where their files are missing."""

    folder: Path
    name: str  # of the folder, with as much of its path as makes it unique
    status: Status = field(default_factory=lambda: Status(FINISHED))
    metrics: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    overrides: tuple[str, ...] = ()  # the settings that were typed
    history: pd.DataFrame | None = None  # one row an epoch
    scored: ScoredImages | None = None
    notes: tuple[str, ...] = ()  # what is missing or damaged

    @property
    def monitor(self) -> str | None:
        """The score that selected its checkpoint, such as `val/acc`."""
        named = self.metrics.get("monitor", self.settings.values.get("monitor"))
        return next(iter(self.status.values), None) if named is None else str(named)

    @property
    def mode(self) -> str:
        """`max` or `min`: whether a higher or a lower monitored value is better."""
        mode = self.settings.values.get("mode")
        return str(mode) if mode in ("max", "min") else MONITORS.get(str(self.monitor), "max")

    @property
    def value(self) -> float | None:
        """The monitored value of its best checkpoint; None without one, and for NaN or infinity."""
        value = self.metrics.get("monitored")
        value = self.status.values.get(str(self.monitor)) if value is None else value
        return float(value) if value is not None and is_number(value) else None

    @property
    def ranked(self) -> bool:
        """Whether it can be ranked: it has a value, and finished or was stopped by hand after it was scored."""
        stopped = self.status.status == INTERRUPTED and self.metrics.get("monitored") is not None
        return self.value is not None and (self.status.status == FINISHED or stopped)

    @property
    def epochs(self) -> int | None:
        """How many epochs it was trained for."""
        return None if self.history is None else int(self.history["epoch"].max())

    @property
    def fingerprint(self) -> str | None:
        """Of its data."""
        return self._of_data("fingerprint") if self.status.fingerprint is None else self.status.fingerprint

    @property
    def splits(self) -> str | None:
        """Hex, the same for the same images in the same splits; runs of older versions have none."""
        return self._of_data("splits")

    @property
    def test_images(self) -> int | None:
        """How many test images its data have; not known of runs of older versions."""
        count: float | None = (self.environment.get("data") or {}).get("test")
        return None if count is None else int(count)

    @property
    def objectives(self) -> dict[str, float]:
        """The other objectives of its sweep, beside the monitored value."""
        return {name: value for name, value in self.status.values.items() if name != self.monitor}

    def _of_data(self, key: str) -> str | None:
        data = self.environment.get("data")
        return data.get(key) if isinstance(data, dict) else None


def read_runs(folders: Sequence[Path]) -> tuple[list[RecordedRun], list[Path]]:
    """Return the runs in some folders, and those folders that hold scores of something else: `evaluate`, `ensemble`."""
    found = [read_run(folder, name) for folder, name in zip(folders, _unique_names(folders), strict=True)]
    return [run for run in found if _is_training(run)], [run.folder for run in found if not _is_training(run)]


def read_run(folder: Path, name: str) -> RecordedRun:
    """Read what is there of a run."""
    reader = RunFiles(folder)
    status = read_status(folder)
    if status is None and (folder / files.STATUS).is_file():
        reader.notes.append(f"{files.STATUS} cannot be read")
    overrides = tuple(status.overrides) if status is not None and status.overrides else _read_overrides(folder)
    run = RecordedRun(folder, name, status or Status(FINISHED), overrides=overrides)
    if status is None or (folder / files.HYDRA).is_dir():  # else its settings could not even be composed
        run = replace(
            run,
            metrics=reader.read(files.METRICS, read_metrics, {}),
            environment=reader.read(files.ENVIRONMENT, read_environment, {}),
            settings=reader.read(files.SETTINGS, read_settings, Settings()),
            history=reader.read(files.HISTORY, read_history, None),
        )
        run = replace(run, settings=with_choices(run.settings, overrides))
        fingerprint = run.fingerprint or ""
        run = replace(run, scored=reader.read(files.PREDICTIONS, lambda path: _read_scored(path, fingerprint), None))
        count = run.metrics.get("count")
        if run.scored is not None and count not in (None, len(run.scored.correct)):
            reader.notes.append(
                f"{files.PREDICTIONS} cannot be read (it holds {len(run.scored.correct):,} images, and {files.METRICS}"
                f" counts {count:,})"
            )
            run = replace(run, scored=None)
    run = replace(run, status=_settle(folder, status, run.metrics))
    # a run that did not get to its end lacks files for a reason
    complete = run.status.status == FINISHED or run.metrics
    return replace(run, notes=tuple(note for note in reader.notes if complete or "cannot be read" in note))


def _read_scored(path: Path, fingerprint: str) -> ScoredImages:
    """Read predictions. Drawn faces of other seeds have the same paths, and only the data's fingerprint differs."""
    table = read_names(path)
    table = table.sort_values(["split", "path"], kind="stable")
    drawn = re.fullmatch(r"(drawn-.*)-\d+px-\d+ch(-seed\d+)", fingerprint)
    digest = sha256(("".join(drawn.groups()) if drawn else "").encode())
    lines = table["split"] + "\t" + table["path"] + "\t" + table["label"]
    digest.update("\n".join(lines).encode("utf-8", ON_DISK))
    return ScoredImages(digest.hexdigest()[:16], (table["label"] == table["predicted"]).to_numpy(dtype=bool))


def _is_training(run: RecordedRun) -> bool:
    """Whether a folder is that of a training; a job of an `evaluate` sweep, which has a status too, is not."""
    settings, has_status = run.settings.values, (run.folder / files.STATUS).is_file()
    trained = any(key.startswith("optimizer.") for key in settings) if settings else has_status
    return trained or "monitored" in run.metrics


def _settle(folder: Path, status: Status | None, metrics: Mapping[str, Any]) -> Status:
    """Return the status of a run, completed by what a killed run could not write."""
    if status is None:  # a version that wrote none
        return Status(status=INTERRUPTED if metrics.get("interrupted") else FINISHED)
    if status.status != RUNNING:
        return status
    process, job = process_of(folder), (folder / files.LOCK).is_file()
    if process is Process.ALIVE or (job and is_locked(folder)):
        return status
    if process is Process.GONE or job:
        kept = whole_checkpoints((folder / files.LAST_CHECKPOINT).parent)
        cure = f": python -m fer_lightning.train {path_setting('ckpt_path', kept[0])} continues it" if kept else ""
        message = f"the process was killed{'' if job else cure}"  # a job is continued with its sweep
        return replace(status, status=INTERRUPTED, reason="killed", message=message)
    host = host_of(folder)
    return replace(status, message=f"it is still running{f' on {host}' if host else ''}, or was killed")


def _read_overrides(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(map(str, read_yaml(folder / files.OVERRIDES)))
    except (OSError, ValueError, TypeError):
        return ()


def _unique_names(folders: Sequence[Path]) -> list[str]:
    """Return the names of folders; where two are the same, their paths below the deepest folder that holds all."""
    whole = [folder.absolute() for folder in folders]
    names = [folder.name for folder in whole]
    if len(set(names)) == len(names):
        return names
    top = os.path.commonpath([folder.parent for folder in whole])
    return [folder.relative_to(top).as_posix() for folder in whole]
