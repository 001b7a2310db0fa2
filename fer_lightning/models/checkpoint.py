"""From a checkpoint file back to a model."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from fer_lightning import __version__
from fer_lightning.core.command_words import path_setting
from fer_lightning.core.errors import CheckpointError, first_lines
from fer_lightning.core.former_names import HYPER_PARAMETERS, renamed
from fer_lightning.core.whole_checkpoints import whole_checkpoints
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.own_module import rebuild
from fer_lightning.models.safetensors_file import read_safetensors
from fer_lightning.models.weights.file_kinds import check_size, is_safetensors

HINT = "type ckpt_path=<run folder>/checkpoints/best.ckpt"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of an `ExpressionClassifier`, read once; `content` is Lightning's dictionary.

    A safetensors file of `fer_lightning.export` is one, too, which holds nothing to continue with.
    """

    path: Path
    content: dict[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> Checkpoint:
        """Read a file without running any code in it.

        Raises:
            CheckpointError: there is no such file, or it is not a checkpoint of fer_lightning.
        """
        path = Path(path)
        if not path.is_file():
            raise CheckpointError(f"no checkpoint at {path}; {_others(path)}")
        try:
            if is_safetensors(path):
                content = read_safetensors(path)
            else:
                if zipfile.is_zipfile(path):
                    check_size(path)
                content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises a dozen types here, none of which says more to the user
            why = f"{path} cannot be read as a checkpoint ({type(error).__name__})"
            raise CheckpointError(f"{why}; {_others(path)}") from error
        if not isinstance(content, dict) or not {"fer_lightning", "hyper_parameters", "state_dict"} <= content.keys():
            raise CheckpointError(f"{path} holds no fer_lightning model; {HINT}")
        content["hyper_parameters"] = renamed(content["hyper_parameters"], HYPER_PARAMETERS)
        return cls(path, content)

    def check_whole(self) -> None:
        """Raise a CheckpointError where the optimizer's state, without which no run continues, is missing."""
        if "optimizer_states" not in self.content:
            raise CheckpointError(
                f"{self.path} holds weights alone and cannot be continued; to begin with them type "
                f"{path_setting('model.weights', self.path)} without ckpt_path"
            )

    @property
    def hyper_parameters(self) -> dict[str, Any]:
        """Arguments of the model, under today's names."""
        return cast("dict[str, Any]", self.content["hyper_parameters"])

    @property
    def epoch(self) -> int:
        """Epochs trained, the one it was saved in included."""
        return int(self.content["epoch"]) + 1  # Lightning counts from 0

    @property
    def global_step(self) -> int:
        """Optimizer steps taken."""
        return int(self.content["global_step"])

    @property
    def data_facts(self) -> dict[str, Any]:
        """What it records of its data, `ExpressionDataModule.facts()`; a CheckpointError if it does not."""
        facts: dict[str, Any] = self.hyper_parameters.get("data_facts") or {}
        if missing := {"fingerprint", "splits", "settings"} - facts.keys():
            raise CheckpointError(
                f"{self.path} does not say what data it was trained on (it lacks {', '.join(sorted(missing))}): train "
                "with python -m fer_lightning.train, or give ExpressionClassifier data_facts=data.facts()"
            )
        return facts

    @property
    def selection(self) -> dict[str, str | None]:
        """`{"selected_on": split}`: the split that chose this checkpoint, None for the last one; empty if unknown.

        Checkpoints of one run hold the same states of callbacks, so the file's name tells which of them this is.
        """
        if "selection" in self.content:  # of a file without callbacks
            return cast("dict[str, str | None]", self.content["selection"])
        states = [state for name, state in self.content.get("callbacks", {}).items() if "Checkpoint" in name]
        for state in sorted(states, key=lambda state: state["monitor"] is None):
            files = (*state["best_k_models"], state["best_model_path"], state.get("best_name", ""))
            if self.path.name in {Path(file).name for file in files}:
                prefix = (state["monitor"] or "").partition("/")[0]
                return {"selected_on": {"val": "validation", "train": "train", "": None}[prefix]}
        return {}

    @property
    def own_class(self) -> str | None:
        """Address of the class that made it, if that is a LightningModule of the user's own; see `own_module`."""
        return str(self.content["fer_lightning"].get("class")) if "arguments" in self.hyper_parameters else None

    def build(self, kind: type[Any] = ExpressionClassifier) -> Any:
        """Return the model, of class `kind`, in evaluation mode on the CPU, without a configuration or a download.

        Raises:
            CheckpointError: another class or version made it.
        """
        if self.own_class is not None and not issubclass(kind, ExpressionClassifier):
            return rebuild(kind, self.hyper_parameters, self.content)
        try:
            model = kind(**self.hyper_parameters | {"pretrained": False, "weights": None, "compile": None})
            model.load_state_dict(self.content["state_dict"])
        except (TypeError, RuntimeError) as error:  # a foreign argument, or weights of other names or shapes
            maker = self.content["fer_lightning"]
            raise CheckpointError(
                f"{self.path} was made by another class or version: by {maker.get('class', 'a class')} of "
                f"fer_lightning {maker['version']}, not by {kind.__name__} of {__version__} ({first_lines(error)}); "
                f"{HINT}"
            ) from error
        return model.eval()


def _others(path: Path) -> str:
    """Return what to type instead of a checkpoint that is missing or damaged."""
    beside = [other for other in whole_checkpoints(path.parent) if other != path]
    return f"type {path_setting('ckpt_path', beside[0])}" if beside else HINT
