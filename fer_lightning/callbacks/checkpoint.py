"""Checkpoints in a run folder that may be moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint


class RunCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, which forgets the best score when the folder was moved; this one looks there."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        here = Path(str(self.dirpath))
        if (here / Path(state_dict["best_model_path"]).name).is_file():
            paths = {key: str(here / Path(state_dict[key]).name) for key in ("best_model_path", "kth_best_model_path")}
            best = {str(here / Path(path).name): score for path, score in state_dict["best_k_models"].items()}
            state_dict = {**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath}
        super().load_state_dict(state_dict)
