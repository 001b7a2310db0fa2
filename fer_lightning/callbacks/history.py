"""The scores of each epoch of a run."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from fer_lightning.core.atomic_write import atomic_write, make_folder

log = logging.getLogger(__name__)


class History(pl.Callback):
    """Writes one row of scalars per epoch, counted from 1, to `history.csv` in `folder`.

    The rows travel in the checkpoint, so a resumed run has whole curves. Epochs without validation lack `val/` scores.
    """

    def __init__(self, folder: str) -> None:
        self.file = Path(folder) / "history.csv"
        self.rows: list[dict[str, float]] = []
        self._validated = False

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "validated": self._validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])
        self._validated = state_dict.get("validated", False)  # not in checkpoints of earlier versions

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = False

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        stale = ("_step",) if self._validated else ("_step", "val/loss", "val/acc", "val/f1_macro")
        scores = {name: value.item() for name, value in trainer.callback_metrics.items() if not name.endswith(stale)}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows = [row for row in self.rows if row["epoch"] <= trainer.current_epoch]  # of a part of this epoch, say
        self.rows.append({"epoch": trainer.current_epoch + 1, "step": trainer.global_step, **scores, "lr": rate})
        if trainer.is_global_zero:
            make_folder(self.file.parent)
            with atomic_write(self.file) as new, new.open("w", newline="") as file:
                columns = dict.fromkeys(name for row in self.rows for name in row)
                writer = csv.DictWriter(file, columns, lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)
            last = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
            names = ("train/loss", "train/acc", "val/loss", "val/acc", "val/f1_macro")
            said = ", ".join(f"{name} {scores[name]:.4f}" for name in names if name in scores)
            log.info(f"epoch {trainer.current_epoch + 1}{last}: {said}")
