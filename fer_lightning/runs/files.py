"""The names of the files in a run folder, and a reader that notes which are missing or damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

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
        except (OSError, ValueError, KeyError) as error:  # those of JSON, Unicode and pandas are ValueErrors
            self.notes.append(f"{name} cannot be read ({' '.join(str(error).split())[:120]})")
        return otherwise


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, or raise OSError or ValueError."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    return content
