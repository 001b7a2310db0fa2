"""One evaluation: a checkpoint, some data, results."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
from omegaconf import DictConfig, OmegaConf

from fer_lightning.callbacks.progress import ProgressBar
from fer_lightning.config.allowed import allowed_modules
from fer_lightning.config.check import check_config
from fer_lightning.core.errors import CheckpointError, ConfigError, DataError
from fer_lightning.core.quiet_libraries import silence_libraries
from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.data.seen_images import ROLES, SeenImages
from fer_lightning.data.source import ImageRows
from fer_lightning.evaluation.score_name import SEEN_IN
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.models.shipped.find import find_model, model_name
from fer_lightning.runs import console
from fer_lightning.runs.environment import write_environment
from fer_lightning.runs.results import write_results
from fer_lightning.runs.status import update_status
from fer_lightning.system.machine import Machine
from fer_lightning.training import build
from fer_lightning.training.load_model import load_model
from fer_lightning.training.predict_split import predict_split

if TYPE_CHECKING:
    import pandas as pd

# of the images that a checkpoint has seen, those that do not count in the score of a split of other data
BARRED: Mapping[str, tuple[str, ...]] = {"validation": ("train",), "test": ("train", "validation")}

# settings that say how a checkpoint's images were read and divided; data.cache_dir, for one, is not its to choose
FROM_CHECKPOINT = (
    *("classes", "merge", "aliases", "code_order", "holdout", "split", "image_size", "channels", "synthetic", "seed"),
)
LAYOUTS_OF_FILES = ("folders", "people", "csv")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rescored:
    """What a checkpoint predicts for the images of a split, and what it was asked with."""

    table: pd.DataFrame  # n rows
    images: ImageRows  # uint8 (n, C, H, W), in the order of the table
    split: str
    asked: int  # images that were to be predicted; more than n where batches were limited
    left_out: Mapping[str, int]  # images of the split that were not: `train` or `validation`, where seen → how many
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

        A null path, or a name in its place, is of a model that ships with the package.

        Raises:
            CheckpointError: the file is not a checkpoint of fer_lightning, or does not know its data.
            ConfigError: images are not named, no such model ships, a setting cannot work or does not suit the network.
        """
        checkpoint = Checkpoint.read(find_model(cfg.ckpt_path))
        facts = checkpoint.data_facts
        settings: dict[str, Any] = facts["settings"]
        if not facts["fingerprint"].startswith("drawn-") and cfg.data.layout == "auto" and cfg.data.root is None:
            raise ConfigError("data.root has no value: type data.root=PATH, or data=synthetic to score drawn faces")
        for key in ("image_size", "channels"):
            if cfg.data[key] not in (None, settings[key]):
                raise ConfigError(f"data.{key}={cfg.data[key]}, but the network takes {settings[key]}: leave it out")
        data = {key: settings[key] for key in FROM_CHECKPOINT if key in settings and cfg.data.get(key, ...) is None}
        # folders and a CSV may lie side by side: what the images were read from is asked for again
        if cfg.data.layout == "auto" and cfg.data.root is not None and settings.get("layout") in LAYOUTS_OF_FILES:
            data["layout"] = settings["layout"]
        if "${" in str(data):
            raise CheckpointError(f"{checkpoint.path}: its settings hold an interpolation, which no run writes")
        if cfg.split == "all":
            data["split"] = [0.0, 0.0, 1.0]  # a folder without splits is scored whole
        completed = OmegaConf.merge(cfg, {"data": data})
        assert isinstance(completed, DictConfig)  # for mypy: a mapping merged into a mapping is one
        check_config(completed)
        return cls(completed, checkpoint)

    @property
    def name(self) -> str:
        """What messages and results call the checkpoint."""
        return model_name(self.checkpoint.path)

    @property
    def seen(self) -> SeenImages | None:
        """The images that the checkpoint was trained on and chosen by; None where it does not say."""
        return SeenImages.from_checkpoint(self.checkpoint.content)

    def open_data(self, machine: Machine | None = None) -> ExpressionDataModule:
        """Return `cfg.data`, divided as the checkpoint's were; a UserError if they cannot be used."""
        return build.build_data(self.cfg, machine, self.checkpoint.data_facts["settings"])

    def predict(self, *, announce: bool = True, leave_out: bool = True) -> Rescored:
        """Predict `cfg.split` of `cfg.data`, but no image that it has seen where other data hold it, if `leave_out`.

        A UserError says if checkpoint or data cannot be used.
        """
        silence_libraries()
        cfg, model = self.cfg, load_model(self.checkpoint, allowed_modules(self.cfg))
        machine = build.resolve_machine(cfg)
        machine.apply()
        pl.seed_everything(cfg.seed, workers=True, verbose=False)
        data = self.open_data(machine)
        self.check_classes(data)
        split = data.report_split if cfg.split == "auto" else cfg.split
        rows = data.require(split)
        before, now, seen = self.checkpoint.data_facts, data.facts(), self.seen
        same_data = bool(before["fingerprint"] == now["fingerprint"])
        own_division = same_data and before["splits"] == now["splits"]
        if seen is None and own_division:  # of version 0.1; but these are the images it was trained on
            seen = data.seen
        roles = np.full(len(rows), "") if seen is None or own_division else seen.roles(data.identities(rows))
        barred = np.isin(roles, BARRED.get(split, ()))
        if same_data and not own_division and split != "all" and (seen is None or barred.any()):
            raise CheckpointError(self._describe_other_splits(before["settings"], now["settings"]))
        left_out = {role: int((roles[barred] == role).sum()) for role in ROLES} if leave_out else {}
        if leave_out:
            rows = self._without(rows, barred, split)
        trainer = build.build_trainer(cfg, machine, [ProgressBar()], [])
        delivery = data.describe_loading(trainer.strategy.root_device)
        skipped = {SEEN_IN[role]: count for role, count in left_out.items() if count}
        without = [f"left out {count:,} {split} images that {what}" for what, count in skipped.items()]
        for note in (*data.notes, *without, machine.summary, delivery) if announce else ():
            log.info(note)
        views = cfg.get("views", "single")  # which `explain` has none of
        table, images = predict_split(trainer, model, data, rows, seen=seen, own_division=own_division, views=views)
        first = trainer.is_global_zero
        same_data &= own_division or split != "train"  # of other splits, it was not trained on these very images
        return Rescored(table, images, split, len(rows), left_out, data, same_data, machine, delivery, first)

    def _without(self, rows: np.ndarray, barred: np.ndarray, split: str) -> np.ndarray:
        """Return the rows that are not barred; a DataError if there is none."""
        if barred.all():
            raise DataError(
                f"{self.name} was trained on or chosen by all {len(rows):,} {split} images, so there is none "
                "to score; split=all scores every image and says what it has seen"
            )
        return np.asarray(rows[~barred])

    def check_classes(self, data: ExpressionDataModule) -> None:
        """Refuse classes that the model cannot name."""
        file, classes = self.name, self.checkpoint.hyper_parameters["classes"]
        if set(data.classes) - set(classes):
            raise CheckpointError(
                f"{file} knows {', '.join(classes)}; the data has {', '.join(data.classes)}. "
                "Choose or unite the data's classes with data.classes=[…] or data.merge={…}"
            )

    def _describe_other_splits(self, known: Mapping[str, Any], now: Mapping[str, Any]) -> str:
        """Return why other splits of a checkpoint's own images are refused, and what to type instead."""
        keys = ("seed", "split", "holdout", "classes", "merge", "aliases", "code_order")
        other = [key for key in keys if key in known and known[key] != now[key]] or ["seed", "split", "holdout"]
        names = [f"data.{key}" for key in other]
        listed = ", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]
        typed = " ".join(shlex.quote(f"{name}={_typed(known[key])}") for name, key in zip(names, other, strict=True))
        return (
            f"{self.name} was trained on other splits of these images, so its training images would be "
            f"scored. Leave out {listed}, or type {typed}"
        )


def _typed(value: Any) -> str:
    """Return a setting as it is typed: `[0.8,0.1,0.1]`."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_typed(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_typed, value)) + "]"
    return "null" if value is None else str(value)


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
            views=evaluation.cfg.views,
            same_data=done.same_data,
            **{f"left_out_in_{role}": count for role, count in done.left_out.items() if count},
            **evaluation.checkpoint.selection,
            partial=len(done.table) < done.asked or done.data.limit is not None,
            checkpoint=evaluation.name,
            model=evaluation.checkpoint.hyper_parameters["backbone"],
            data=done.data.notes[0],
        )
        update_status(folder, values={f"{done.split}/acc": metrics["accuracy"]})
        console.print_results(metrics, folder)
    return float((done.table["label"] == done.table["predicted"]).mean())
