"""Tell the folders and pictures that a run wrote from those of a data set: a run may lie inside the data folder."""

from __future__ import annotations

import os

RECORD = ".hydra"  # in the folder of a run
_RECORDS = (RECORD, "sweep.json", "status.json", "compare.html")
_LOGGERS = frozenset({"lightning_logs", "mlruns", "mlartifacts", "wandb", "tb_logs"})
# what a run writes beside its record; they matter where the folder of a run is one of the data set
RUN_FILES = frozenset(
    (
        *("batch.png", "predictions.png", "mistakes.png", "curves.png", "confusion_matrix.png"),
        *("predictions.csv", "history.csv", "classification_report.csv", "compare.csv"),
    )
)
RUN_FOLDERS = frozenset({"checkpoints", "tensorboard", "csv", "outputs"})
_MOST_LEVELS = 4  # outputs/train/<date>/<time>


def is_product(folder: str, suffixes: tuple[str, ...], levels: int = _MOST_LEVELS) -> bool:
    """Return whether a folder is that of a run, a sweep or a logger, or holds nothing but such.

    `suffixes` are those of images: a folder of images without a record is none.
    """
    if os.path.basename(folder).lower() in _LOGGERS or any(os.path.lexists(f"{folder}/{name}") for name in _RECORDS):
        return True
    inside: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.lower().endswith(suffixes):
                    return False
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    inside.append(entry.path)
    except OSError:
        return False  # reported where it is read
    return bool(inside) and levels > 0 and all(is_product(path, suffixes, levels - 1) for path in inside)
