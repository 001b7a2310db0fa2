"""Pictures of what goes in and what comes out, for the run folder and TensorBoard.

What draws is imported when there is something to draw: the first training step does not wait for Matplotlib.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.gather_outputs import gather_outputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class BatchPreview(pl.Callback):
    """Draws `count` images of the first training batch, augmented, not yet mixed, to `batch.png` and TensorBoard."""

    def __init__(self, folder: str, count: int = 32) -> None:
        self.file = Path(folder) / "batch.png"
        self.count = count

    @rank_zero_only
    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch > 0 or batch_idx > 0:
            return
        from fer_lightning.evaluation.canvas import save
        from fer_lightning.evaluation.galleries import plot_batch

        images = batch.images
        if isinstance(module, ExpressionClassifier):  # which may resize them
            images = module.pixels.resize(images.float()).round().clamp(0, 255).byte()
        figure = plot_batch(images.cpu().numpy(), batch.labels.cpu().numpy(), list(module.classes), limit=self.count)
        save(figure, self.file)
        _add_figure(trainer, "training batch", figure)


class ValidationPictures(pl.Callback):
    """Shows how the confusion matrix and example predictions change over epochs, in TensorBoard.

    Drawing can take longer than an epoch of a small network, so epochs are left out while it has taken more than
    `fraction` of the time, 0…1; the first that is due and epoch `trainer.max_epochs` are always shown.

    Args:
        every_n_epochs: how often at the most.
        per_class: example images of each class, the same ones each time.
        fraction: largest fraction of the training time spent on drawing; 1 leaves no epoch out.
    """

    def __init__(self, every_n_epochs: int = 1, per_class: int = 4, fraction: float = 0.02) -> None:
        if every_n_epochs < 1 or per_class < 1:
            raise ValueError(f"both must be 1 or more, got every_n_epochs={every_n_epochs}, per_class={per_class}")
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction={fraction} must lie between 0 and 1")
        self.every_n_epochs, self.per_class, self.fraction = every_n_epochs, per_class, fraction
        self._outputs: list[dict[str, torch.Tensor]] = []
        self._started, self._spent, self._wanted = time.monotonic(), 0.0, False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.monotonic()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        affordable = self._spent <= self.fraction * (time.monotonic() - self._started)
        due = epoch == trainer.max_epochs or (epoch % self.every_n_epochs == 0 and affordable)
        self._wanted = trainer.strategy.broadcast(due and not trainer.sanity_checking and _writer(trainer) is not None)

    def on_validation_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, *_: Any) -> None:
        if self._wanted and isinstance(outputs, dict) and {"index", "probabilities"} <= outputs.keys():
            self._outputs.append({name: value.detach() for name, value in outputs.items()})

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        if not self._wanted or not self._outputs:  # a module of another class may return something else
            return
        started = time.monotonic()
        index, probabilities = gather_outputs(self._outputs)
        self._outputs.clear()
        if trainer.is_global_zero:
            from fer_lightning.evaluation.figures import plot_confusion
            from fer_lightning.evaluation.galleries import plot_gallery
            from fer_lightning.evaluation.predictions import predictions_table

            data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning's, unannotated
            table = predictions_table(data.table, index, probabilities, list(module.classes))
            _add_figure(trainer, "validation/confusion", plot_confusion(table))
            examples = plot_gallery(table, data.image_rows(index), columns=self.per_class)
            _add_figure(trainer, "validation/examples", examples)
        self._spent += time.monotonic() - started


def _writer(trainer: pl.Trainer) -> Any:
    return next((logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)


def _add_figure(trainer: pl.Trainer, name: str, figure: Figure) -> None:
    if (writer := _writer(trainer)) is not None:
        step = max(0, trainer.global_step - 1)  # as Lightning numbers scalars, so that a resumed run keeps both or none
        writer.add_figure(name, figure, global_step=step, close=False)
