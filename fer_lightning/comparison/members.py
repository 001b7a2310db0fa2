"""The members of an ensemble, and their predictions of a split."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from fer_lightning.comparison.formatting import shorten
from fer_lightning.comparison.ranking import best_first, selection_of
from fer_lightning.core.errors import DataError, UserError
from fer_lightning.data.cache.image_header import MAX_PIXELS
from fer_lightning.data.seen_images import ROLES
from fer_lightning.data.source import ImageRows
from fer_lightning.evaluation.metrics import read_predictions
from fer_lightning.runs.files import BEST_CHECKPOINT, PREDICTIONS
from fer_lightning.runs.read import RecordedRun
from fer_lightning.runs.results import read_predictions_of
from fer_lightning.training import build
from fer_lightning.training.evaluate_checkpoint import BARRED, Evaluation

# settings that may ask for other images than the runs have predicted
WHICH_IMAGES = (
    "root",
    "layout",
    "classes",
    "merge",
    "aliases",
    "code_order",
    "holdout",
    "split",
    "synthetic",
    "seed",
    "limit",
)

log = logging.getLogger(__name__)


def rank_members(runs: Sequence[RecordedRun], top: int) -> list[RecordedRun]:
    """Return the runs that can be ranked by the value that selected their checkpoints, best first.

    A warning says if there are fewer than `top`, a DataError if there are fewer than two, or not all of them have the
    same kind of value.
    """
    ranked = [run for run in runs if run.ranked]
    left_out = [f"{run.name} ({run.status.status})" for run in runs if not run.ranked]
    if left_out:
        log.info(f"without {shorten(left_out, 5)}")
    if len(ranked) < 2:
        raise DataError(
            f"an average needs two finished runs, and there {'is' if len(ranked) == 1 else 'are'} {len(ranked)} among"
            f" {len(runs)}: name more folders"
        )
    kinds = {selection_of(run): run for run in ranked}
    if len(kinds) > 1:
        examples = "; ".join(f"{run.monitor} on {limit} batches: {run.name}" for (*_, limit), run in kinds.items())
        raise DataError(
            f"the checkpoints of these runs were not chosen by the same value ({examples}): name some alike"
        )
    if top > len(ranked):
        log.warning(f"top={top}, but {len(ranked)} runs have a score: all of them are averaged")
    return best_first(ranked)


class Members:
    """The runs of an ensemble, best first, and their predictions of one split."""

    def __init__(self, runs: Sequence[RecordedRun], cfg: DictConfig) -> None:
        """Read the predictions of the best `cfg.top` runs, or make them.

        A run that has none and cannot make them is left out with a warning, and the next best takes its place; the
        UserError of the first is raised where fewer than two are left.
        """
        self.runs, self.cfg = list[RecordedRun](), cfg
        scored = (run.metrics["split"] for run in runs if run.metrics.get("split"))
        self.split = next(scored, "auto") if cfg.split == "auto" else cfg.split
        self.same_data = True
        self.tables: dict[str, pd.DataFrame] = {}
        self._images: ImageRows | None = None
        problems = list[UserError]()
        for run in runs:
            if len(self.runs) == cfg.top:
                break
            try:
                self.tables[run.name] = self._table_of(run)
                self.runs.append(run)
            except UserError as error:
                problems.append(error)
        if len(self.runs) < 2 and problems:
            raise problems[0]
        for problem in problems:
            log.warning(f"left out: {problem}")
        self.left_out = dict.fromkeys(ROLES, 0)
        if not self.same_data:
            self._leave_out_seen()

    def _table_of(self, run: RecordedRun) -> pd.DataFrame:
        """Return the predictions of a run as its folder holds them, if they are whole, or as its checkpoint does."""
        if any(self.cfg.data[key] is not None for key in WHICH_IMAGES):
            return self._predict(run)
        damaged = next((note for note in run.notes if note.startswith(PREDICTIONS)), None)
        try:
            stored = read_predictions_of(run.folder, self.split)
            if stored is not None and damaged is None:
                read_predictions(stored)
                return stored
        except DataError as error:
            damaged = str(error)
        if damaged is not None:
            log.warning(f"{run.name}: {damaged}: its checkpoint predicts again")
        return self._predict(run)

    def _predict(self, run: RecordedRun) -> pd.DataFrame:
        log.info(f"{run.name} predicts the {self.split} images")
        try:
            done = self._evaluation_of(run).predict(announce=not self.runs, leave_out=False)
        except UserError as error:
            raise type(error)(f"{run.name} has no predictions of the {self.split} split: {error}") from error
        if not self.runs:
            self._images, self.split = done.images, done.split
        self.same_data &= done.same_data
        return done.table

    def _leave_out_seen(self) -> None:
        """Leave out of all predictions the images of other data that any member was trained on or chosen by."""
        roles: dict[str, str] = {}
        for role in reversed(BARRED.get(self.split, ())):
            for table in self.tables.values():
                roles |= dict.fromkeys(table["path"][table["seen"] == role] if "seen" in table else (), role)
        for name, table in self.tables.items():
            keep = ~table["path"].isin(roles.keys()).to_numpy()
            if not keep.any():
                raise DataError(f"the members were trained on or chosen by all {len(keep):,} {self.split} images")
            if name == self.runs[0].name:
                self.left_out = {role: int((table["path"].map(roles) == role).sum()) for role in ROLES}
                self._images = None if self._images is None else self._images.take(keep)
            self.tables[name] = table[keep].reset_index(drop=True)

    def images(self) -> ImageRows | None:
        """Return the images in the order of the first member's predictions; None, with a warning, without them."""
        if self._images is not None:
            return self._images
        table = self.tables[self.runs[0].name]
        try:
            evaluation = self._evaluation_of(self.runs[0])
            cfg = evaluation.cfg
            cfg.trainer.precision = "32-true"  # nothing is computed, so no trial has to find the fastest
            data = evaluation.open_data(build.resolve_machine(cfg))
        except UserError as error:
            log.warning(f"galleries of faces are left out: {error}")
            return None
        there, wanted = pd.MultiIndex.from_arrays([data.table.splits, data.table.paths]), table[["split", "path"]]
        order = there.get_indexer(pd.MultiIndex.from_frame(wanted)) if there.is_unique else np.array([-1])
        if (order < 0).any():
            log.warning("galleries of faces are left out: the data has changed since it was scored")
            return None
        return data.image_rows(order)

    def _evaluation_of(self, run: RecordedRun) -> Evaluation:
        return evaluation_of(run.folder / BEST_CHECKPOINT, self.cfg, run.settings.values, split=self.split)


def evaluation_of(
    checkpoint: Path, cfg: DictConfig, settings: Mapping[str, Any], *, split: str | None = None
) -> Evaluation:
    """Return the evaluation of a checkpoint on the data of its run, whose settings are given, or on what is typed."""
    data: dict[str, Any] = {"layout": "auto", "on_error": "raise", "max_pixels": MAX_PIXELS}
    typed = cfg.data
    for key in ("root", "layout", "limit", "on_error", "max_pixels"):  # which a checkpoint does not hold
        if f"data.{key}" in settings:
            data[key] = settings[f"data.{key}"]
    data = {key: value for key, value in data.items() if typed[key] is None}
    if data.get("layout") == "synthetic" and typed.root is not None:
        data["layout"] = "auto"
    without_struct = OmegaConf.create(OmegaConf.to_container(cfg, resolve=False))
    changes = {"ckpt_path": str(checkpoint), "split": cfg.split if split is None else split, "data": data}
    # a mapping merged into a mapping is one
    return Evaluation.prepare(OmegaConf.merge(without_struct, changes))  # type: ignore[arg-type]
