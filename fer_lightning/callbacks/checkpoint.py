"""Checkpoints in a run folder that may be moved, the best of which has one name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from fer_lightning.core.atomic_write import atomic_write


class RunCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, with the best one always in `<filename>.ckpt`, wherever the folder is moved to.

    With `save_top_k` of more than one, or -1 for all, the others are kept beside it: `<filename>_epoch3.ckpt`, counted
    from 1. Lightning would write all of them to the one file, and call the last the best.

    Raises:
        ValueError: `filename` is `best`, but nothing is monitored, or only between validations.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.filename == "best" and self.monitor is None:
            raise ValueError(
                "without monitor nothing says which epoch is the best: type monitor=val/acc, or "
                "'~callbacks.best_checkpoint' to keep the last one only"
            )
        if str(self.monitor).startswith("val/") and self._every_n_train_steps > 0:
            raise ValueError(
                f"every_n_train_steps={self._every_n_train_steps} saves weights that {self.monitor} was not measured "
                "with: leave it out and type trainer.val_check_interval=0.25 with save_on_train_epoch_end=false, or "
                "++callbacks.last_checkpoint.every_n_train_steps=100"
            )
        self._best: str | None = None  # the name that the best one always has
        if self.monitor is not None and self.save_top_k not in (0, 1) and "{" not in str(self.filename):
            self._best, self.filename = self.filename, f"{self.filename}_epoch{{number}}"

    def _update_best_and_save(
        self, current: Tensor, trainer: pl.Trainer, monitor_candidates: dict[str, Tensor]
    ) -> None:
        super()._update_best_and_save(
            current, trainer, monitor_candidates | {"number": monitor_candidates["epoch"] + 1}
        )
        if self._best is not None and trainer.is_global_zero and self._last_checkpoint_saved == self.best_model_path:
            source = Path(self.best_model_path)
            with atomic_write(source.with_name(f"{self._best}.ckpt")) as new:
                _link_or_copy(source, new)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | ({} if self._best is None else {"best_name": f"{self._best}.ckpt"})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        here = Path(str(self.dirpath))
        # Lightning deletes what these name, so a checkpoint may name files beside it only
        last = state_dict.get("last_model_path")
        state_dict = {**state_dict, "last_model_path": str(here / Path(last).name) if last else ""}
        named = [state_dict["best_model_path"], *state_dict["best_k_models"], state_dict.get("kth_best_model_path", "")]
        if any(path and Path(path).parent.absolute() != here.absolute() for path in named):
            state_dict["dirpath"] = None  # of another folder: Lightning forgets them
        if (here / Path(state_dict["best_model_path"]).name).is_file():
            paths = {key: str(here / Path(state_dict[key]).name) for key in ("best_model_path", "kth_best_model_path")}
            best = {str(here / Path(path).name): score for path, score in state_dict["best_k_models"].items()}
            state_dict = {**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath}
        super().load_state_dict(state_dict)


def _link_or_copy(source: Path, new: Path) -> None:
    try:
        os.link(source, new)
    except OSError:  # this file system has no second names
        shutil.copyfile(source, new)
