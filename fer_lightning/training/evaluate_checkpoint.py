"""One evaluation: a checkpoint, some data, results."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from omegaconf import DictConfig, OmegaConf

from fer_lightning.callbacks.progress import ProgressBar
from fer_lightning.config.check import check_config
from fer_lightning.core.errors import CheckpointError, ConfigError
from fer_lightning.core.quiet_libraries import silence_libraries
from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.data.source import ImageRows
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.runs import console
from fer_lightning.runs.environment import write_environment
from fer_lightning.runs.results import write_results
from fer_lightning.runs.status import update_status
from fer_lightning.system.machine import Machine
from fer_lightning.training import build
from fer_lightning.training.predict_split import predict_split

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rescored:
    """What a checkpoint predicts for the images of a split, and what it was asked with."""

    table: pd.DataFrame  # n rows
    images: ImageRows  # uint8 (n, C, H, W), in the order of the table
    split: str
    data: ExpressionDataModule
    same_data: bool  # whether the images are, file for file, those that the model was trained on
    machine: Machine
    delivery: str  # one line on where the images lay
    first: bool  # whether this is the process, of several, that writes


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint, and `conf/evaluate.yaml` composed, completed from it and checked, which says what it predicts."""

    cfg: DictConfig
    checkpoint: Checkpoint

    @classmethod
    def prepare(cls, cfg: DictConfig) -> Evaluation:
        """Read `cfg.ckpt_path`, and take from it what is null of `cfg.data`: its splits and how images are read.

        Raises:
            CheckpointError: the file is not a checkpoint of fer_lightning, or does not know its data.
            ConfigError: checkpoint or images are not named, or a setting cannot work or does not suit the network.
        """
        if OmegaConf.is_missing(cfg, "ckpt_path") or cfg.ckpt_path is None:
            raise ConfigError("ckpt_path has no value: type ckpt_path=<run folder>/checkpoints/best.ckpt")
        checkpoint = Checkpoint.read(cfg.ckpt_path)
        facts = checkpoint.data_facts
        settings: dict[str, Any] = facts["settings"]
        if not facts["fingerprint"].startswith("drawn-") and cfg.data.layout == "auto" and cfg.data.root is None:
            raise ConfigError("data.root has no value: type data.root=PATH, or data=synthetic to score drawn faces")
        for key in ("image_size", "channels"):
            if cfg.data[key] not in (None, settings[key]):
                raise ConfigError(f"data.{key}={cfg.data[key]}, but the network takes {settings[key]}: leave it out")
        data = {key: value for key, value in settings.items() if key in cfg.data and cfg.data[key] is None}
        if cfg.split == "all":
            data["split"] = [0.0, 0.0, 1.0]  # a folder without splits is scored whole
        completed = OmegaConf.merge(cfg, {"data": data})
        assert isinstance(completed, DictConfig)  # for mypy: a mapping merged into a mapping is one
        check_config(completed)
        return cls(completed, checkpoint)

    def predict(self, *, announce: bool = True) -> Rescored:
        """Predict `cfg.split` of `cfg.data`; a UserError if checkpoint or data cannot be used."""
        silence_libraries()
        cfg, model = self.cfg, self.checkpoint.build()
        machine = build.resolve_machine(cfg)
        machine.apply()
        pl.seed_everything(cfg.seed, workers=True, verbose=False)
        data = build.build_data(cfg, machine)
        same_data = self._check_data(data)
        split = data.report_split if cfg.split == "auto" else cfg.split
        data.require(split)
        trainer = build.build_trainer(cfg, machine, [ProgressBar()], [])
        delivery = data.describe_loading(trainer.strategy.root_device)
        for note in (*data.notes, machine.summary, delivery) if announce else ():
            log.info(note)
        table, images = predict_split(trainer, model, data, split)
        return Rescored(table, images, split, data, same_data, machine, delivery, trainer.is_global_zero)

    def _check_data(self, data: ExpressionDataModule) -> bool:
        """Refuse classes that the model cannot name, and other splits of its own images; return whether it is those."""
        file, classes = self.cfg.ckpt_path, self.checkpoint.hyper_parameters["classes"]
        if set(data.classes) - set(classes):
            raise CheckpointError(
                f"{file} knows {', '.join(classes)}; the data has {', '.join(data.classes)}. "
                "Choose or unite the data's classes with data.classes=[…] or data.merge={…}"
            )
        before, now = self.checkpoint.data_facts, data.facts()
        same_data = bool(before["fingerprint"] == now["fingerprint"])
        if same_data and before["splits"] != now["splits"] and self.cfg.split != "all":
            known = before["settings"]
            raise CheckpointError(
                f"{file} was trained on other splits of these images, so its training images would be scored. "
                f"Leave out data.seed, data.split and data.holdout, or type data.seed={known['seed']} "
                f"data.split={known['split']} data.holdout={known['holdout']}"
            )
        return same_data


def evaluate(cfg: DictConfig) -> float:
    """Score `cfg.ckpt_path` on `cfg.split` of `cfg.data`, write the results, and return the accuracy.

    It raises a UserError if settings, checkpoint or data cannot be used.
    """
    evaluation = Evaluation.prepare(cfg)
    done = evaluation.predict()
    if done.first:
        folder = Path(cfg.output_dir)
        facts = {"fingerprint": done.data.source.fingerprint, "delivery": done.delivery}
        write_environment(folder, machine=done.machine.as_dict(), data=facts)
        metrics = write_results(
            done.table,
            done.images,
            folder,
            split=done.split,
            same_data=done.same_data,
            **evaluation.checkpoint.selection,
            partial=len(done.table) < len(done.data.rows(done.split)) or done.data.limit is not None,
            checkpoint=str(cfg.ckpt_path),
            model=evaluation.checkpoint.hyper_parameters["backbone"],
            data=done.data.notes[0],
        )
        update_status(folder, values={f"{done.split}/acc": metrics["accuracy"]})
        console.print_results(metrics, folder)
    return float((done.table["label"] == done.table["predicted"]).mean())
