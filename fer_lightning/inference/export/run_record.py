"""What the folder of a run says of how its checkpoint was made and what it scores, for those who only get the model."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yaml

from fer_lightning.core.errors import ConfigError, UserError
from fer_lightning.core.former_names import renamed
from fer_lightning.inference.export.facts import own_metrics
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.runs import files
from fer_lightning.runs.files import RunFiles
from fer_lightning.runs.results import read_predictions_of
from fer_lightning.runs.schema import read_environment, read_object

# settings that say where a run was, and not what it did
PLACES = re.compile(r"^\W*(hydra\.|ckpt_path=|output_dir=|security\.|data\.cache_dir=)")


@dataclass(frozen=True)
class RunRecord:
    """The record of a run, without names of folders of the machine it was on.

    Attributes:
        metrics: `metrics.json`.
        table: predictions table of its split.
        command: that trains it again.
        date: of its end, `YYYY-MM-DD`.
        machine: on which it began, one line.
        versions: of other packages, by name; without those that were not installed.
        commit: of the checkout it ran from; None if that was none, or was changed.
        seconds: that training and scoring took; None where it was interrupted between.
        data: one line on the images.
    """

    metrics: dict[str, Any]
    table: pd.DataFrame
    command: str
    date: str
    machine: str
    versions: dict[str, str]
    commit: str | None
    seconds: float | None
    data: str

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> RunRecord:
        """Read the folder that a checkpoint lies in; a ConfigError if its results are not there, or of another one."""
        run = checkpoint.path.absolute().parents[1]
        again = "type ckpt_path=<run folder>/checkpoints/best.ckpt of a run that ended with a score"
        metrics = own_metrics(checkpoint)
        if metrics is None:
            raise ConfigError(f"{run} holds no results of {checkpoint.path.name} for the model card: {again}")
        try:
            environment = first = read_environment(run / files.ENVIRONMENT)
            while isinstance(first.get("before"), dict):  # a run that was continued
                first = first["before"]
            status: dict[str, Any] = RunFiles(run).read(files.STATUS, read_object, {})
            overrides = yaml.safe_load((run / files.OVERRIDES).read_text(encoding="utf-8"))
            if missing := {"time", "platform", "python", "versions"} - first.keys():
                raise ValueError(f"{files.ENVIRONMENT} lacks {', '.join(sorted(missing))}")
            table = read_predictions_of(run, metrics["split"])
            if table is None:
                raise ValueError(f"no {files.PREDICTIONS} of {metrics['split']} images")
        except (OSError, ValueError, KeyError, yaml.YAMLError, UserError) as error:
            raise ConfigError(f"{run} cannot be read for the model card ({error}): {again}") from error
        system = first["platform"].partition("-")[0]  # without the kernel's own version
        git, machine = first.get("git") or {}, renamed(first.get("machine") or {}, {"why": "summary"})  # of 0.1
        return cls(
            metrics,
            table,
            _command(overrides or []),
            str(environment["time"])[:10],
            "; ".join([machine.get("summary", "not recorded"), f"{system}, Python {first['python']}"]),
            {name: version for name, version in first["versions"].items() if name != "fer_lightning" and version},
            None if git.get("changed", True) else git["commit"],
            status.get("seconds") if status.get("attempts") == 1 else None,
            without_folders(str(metrics.get("data", ""))),
        )


def _command(overrides: list[str]) -> str:
    words = [re.sub(r"^data\.root=.*", "data.root=PATH", item) for item in overrides if not PLACES.match(item)]
    return shlex.join(["python", "-m", "fer_lightning.train", *map(without_folders, words)])


def without_folders(text: str) -> str:
    """Return a text with the last part of each absolute path in it.

    >>> without_folders("model.teachers=[/runs/1/a.ckpt,/my runs/2/b.ckpt]; found train/ under /data/faces: 3")
    'model.teachers=[a.ckpt,b.ckpt]; found train/ under faces: 3'
    """
    return re.sub(r"(?<![\w.])/(?:[^/:,;\]'\"]+/)+", "", text)
