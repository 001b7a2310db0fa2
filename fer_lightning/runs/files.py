"""The names of the files in a run folder, and a reader that notes which are missing or damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

HYDRA = ".hydra"  # folder of what Hydra records
STATUS = "status.json"
ENVIRONMENT = "environment.json"
SETTINGS = f"{HYDRA}/config.yaml"
OVERRIDES = f"{HYDRA}/overrides.yaml"
HISTORY = "history.csv"
METRICS = "metrics.json"
PREDICTIONS = "predictions.csv"
CLASS_REPORT = "classification_report.csv"
REPORT = "report.html"
HEAT_MAPS, HEAT_MAPS_FIGURE = "heat_maps.json", "heat_maps.png"  # of `explain`, in a run that was explained
BEST_CHECKPOINT, LAST_CHECKPOINT = "checkpoints/best.ckpt", "checkpoints/last.ckpt"
LOCK, RUN_LOCK = "job.lock", "run.lock"  # of a sweep's job; of the process that runs in a folder
SWEEP_PLAN = "sweep.json"  # in the folder of a sweep

T = TypeVar("T")


class RunFiles:
    """Reads the files of one run folder; each that is missing or damaged becomes one of the `notes`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes = folder, list[str]()

    def read(self, name: str, reader: Callable[[Path], T], otherwise: T) -> T:
        """Return `reader(path)` of a file, or `otherwise` and a note."""
        try:
            return reader(self.folder / name)
        except FileNotFoundError:
            self.notes.append(f"{name} is missing")
        except Exception as error:  # there is no end to what pandas and YAML raise for files of others
            self.notes.append(f"{name} cannot be read ({' '.join(str(error).split())[:120]})")
        return otherwise
