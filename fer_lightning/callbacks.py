"""What happens beside training: seeds, Ctrl-C, curves, and pictures for TensorBoard."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure

from fer_lightning.evaluation.figures import plot_confusion, save
from fer_lightning.evaluation.galleries import plot_batch, plot_gallery
from fer_lightning.evaluation.predictions import gather_outputs, predictions_table

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The user pressed Ctrl-C; raised between two batches, so that what was trained can still be judged."""


class ProgressBar(TQDMProgressBar):
    """Lightning's bar, on a terminal; a log file gets the line an epoch that `History` writes, and no bar."""

    def __init__(self) -> None:
        super().__init__(leave=False)
        self.on_terminal = sys.stderr.isatty()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if not self.on_terminal:
            self.disable()

    def enable(self) -> None:
        if self.on_terminal:
            super().enable()

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)  # a run folder of its own makes version numbers meaningless
        return metrics


class ReseedSteps(pl.Callback):
    """Seeds dropout and mixup by (seed, epoch, batch, rank): a resumed run draws what an unbroken one would.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        key = np.random.SeedSequence((self.seed, trainer.current_epoch, batch_idx, trainer.global_rank))
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0] >> 1))


class StopOnInterrupt(pl.Callback):
    """Turns the first Ctrl-C into `Interrupted` after the current batch; a second one ends the program at once."""

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        stop = self._asked
        if trainer.world_size > 1:  # ranks get the signal at different batches, and must leave together
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            raise Interrupted

    def _ask(self, *_: Any) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        rank_zero_only(print)("\nstopping after this batch; Ctrl-C again to leave at once", flush=True)

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None


class History(pl.Callback):
    """One row of scalars an epoch, counted from 1, in `history.csv`.

    The rows travel in the checkpoint, so a resumed run has whole curves.

    Args:
        folder: where the file goes.
    """

    def __init__(self, folder: str) -> None:
        self.file = Path(folder) / "history.csv"
        self.rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        scores = {name: value.item() for name, value in trainer.callback_metrics.items() if not name.endswith("_step")}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append({"epoch": trainer.current_epoch + 1, "step": trainer.global_step, **scores, "lr": rate})
        if trainer.is_global_zero:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(self.rows).to_csv(self.file, index=False)
            log.info(describe_epoch(self.rows[-1], trainer.max_epochs))


def describe_epoch(row: dict[str, float], epochs: int | None) -> str:
    """Return one line: which epoch of how many, and its scores."""
    last = "" if epochs is None or epochs < 0 else f"/{epochs}"
    names = ("train/loss", "train/acc", "val/loss", "val/acc", "val/f1_macro")
    scores = ", ".join(f"{name} {row[name]:.4f}" for name in names if name in row)
    return f"epoch {row['epoch']}{last}: {scores}"


class BatchPreview(pl.Callback):
    """Draws the first training batch as the network sees it, to `batch.png` and TensorBoard.

    Args:
        folder: where the file goes.
        count: images in the picture.
    """

    def __init__(self, folder: str, count: int = 32) -> None:
        self.file = Path(folder) / "batch.png"
        self.count = count

    @rank_zero_only
    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step > 0 or batch_idx > 0:
            return
        images, labels = batch.images.cpu().numpy(), batch.labels.cpu().numpy()
        figure = plot_batch(images, labels, module.classes, limit=self.count)
        save(figure, self.file)
        add_figure(trainer, "training batch", figure)


class ValidationPictures(pl.Callback):
    """Shows how the confusion matrix and example predictions change over epochs, in TensorBoard.

    Args:
        every_n_epochs: how often; the last epoch is always shown.
        per_class: example images of each class, the same ones each time.
    """

    def __init__(self, every_n_epochs: int = 1, per_class: int = 4) -> None:
        if every_n_epochs < 1 or per_class < 1:
            raise ValueError(f"both must be 1 or more, got every_n_epochs={every_n_epochs}, per_class={per_class}")
        self.every_n_epochs, self.per_class = every_n_epochs, per_class
        self._outputs: list[dict[str, torch.Tensor]] = []

    def _due(self, trainer: pl.Trainer) -> bool:
        epoch = trainer.current_epoch + 1
        due = epoch % self.every_n_epochs == 0 or epoch == trainer.max_epochs
        return due and not trainer.sanity_checking and _writer(trainer) is not None

    def on_validation_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        if self._due(trainer):
            self._outputs.append({name: value.detach() for name, value in outputs.items()})

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._due(trainer):
            return
        index, probabilities = gather_outputs(self._outputs)
        self._outputs.clear()
        if trainer.is_global_zero:
            table = predictions_table(trainer.datamodule.table, index, probabilities, pl_module.classes)
            add_figure(trainer, "validation/confusion", plot_confusion(table))
            examples = plot_gallery(table, trainer.datamodule.images(index), columns=self.per_class)
            add_figure(trainer, "validation/examples", examples)


def _writer(trainer: pl.Trainer) -> Any:
    loggers = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    return loggers[0].experiment if loggers else None


def add_figure(trainer: pl.Trainer, name: str, figure: Figure) -> None:
    """Send a figure to TensorBoard, if the run has it."""
    writer = _writer(trainer)
    if writer is not None:
        writer.add_figure(name, figure, global_step=trainer.global_step, close=False)
