"""Pictures of what goes in and what comes out, for the run folder and TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure

from fer_lightning.evaluation.figures import plot_confusion, save
from fer_lightning.evaluation.galleries import plot_batch, plot_gallery
from fer_lightning.evaluation.predictions import predictions_table
from fer_lightning.scoring import gather_outputs


class BatchPreview(pl.Callback):
    """Draws the first training batch, augmented but not yet mixed, to `batch.png` and TensorBoard.

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
        every_n_epochs: how often; epoch `trainer.max_epochs` is shown in any case.
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

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._due(trainer):
            return
        index, probabilities = gather_outputs(self._outputs)
        self._outputs.clear()
        if trainer.is_global_zero:
            table = predictions_table(trainer.datamodule.table, index, probabilities, pl_module.classes)
            add_figure(trainer, "validation/confusion", plot_confusion(table))
            examples = plot_gallery(table, trainer.datamodule.image_rows(index), columns=self.per_class)
            add_figure(trainer, "validation/examples", examples)


def _writer(trainer: pl.Trainer) -> Any:
    loggers = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    return loggers[0].experiment if loggers else None


def add_figure(trainer: pl.Trainer, name: str, figure: Figure) -> None:
    """Send a figure to TensorBoard, if the run has it."""
    writer = _writer(trainer)
    if writer is not None:
        step = max(0, trainer.global_step - 1)  # as Lightning numbers scalars, so that a resumed run keeps both or none
        writer.add_figure(name, figure, global_step=step, close=False)
