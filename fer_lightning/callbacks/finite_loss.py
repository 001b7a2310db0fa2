"""Stops a training whose loss is infinite or NaN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from fer_lightning.core.errors import DivergedError

SHOWN = 3  # images of the batch
_INTERVAL = 20  # steps, where the Trainer logs none


class FiniteLoss(pl.Callback):
    """Looks at the losses every `log_every_n_steps` steps, before validations and checkpoints, and after an epoch.

    Between these it only keeps them, so that no step waits for the device. A loss that is not finite raises a
    `DivergedError` with epoch, step and images; checkpoints of before stay. Gradients that a scaler of 16-bit
    training skips are none of its business.
    """

    def __init__(self) -> None:
        self._recent: list[tuple[Tensor, Any, int, int]] = []  # loss (), batch, its number in the epoch, step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            index = getattr(batch, "index", None)
            self._recent.append((loss.detach(), index, batch_idx, trainer.global_step))
        every: int = trainer.log_every_n_steps or _INTERVAL  # type: ignore[attr-defined]  # Lightning's, unannotated
        if (batch_idx + 1) % every == 0:
            self._check(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check(trainer)  # or the loss of validation would be blamed

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check(trainer)

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check(trainer)

    def _check(self, trainer: pl.Trainer) -> None:
        recent, self._recent = self._recent, []
        finite = torch.stack([loss.float().mean() for loss, *_ in recent]).isfinite().tolist() if recent else []
        everywhere = all(finite)
        if trainer.world_size > 1:  # all ranks end together
            everywhere = trainer.strategy.reduce_boolean_decision(everywhere, all=True)
        if everywhere:
            return
        precise = "" if str(trainer.precision).startswith("32") else ", or trainer.precision=32-true"
        cure = f"type a smaller optimizer.lr, trainer.gradient_clip_val=1{precise}"
        if all(finite):
            raise DivergedError(f"the loss is not finite on another rank, which says where: {cure}")
        loss, index, batch, step = recent[finite.index(False)]
        where = f"step {step}, batch {batch + 1} of epoch {trainer.current_epoch + 1}{_images(trainer, index)}"
        raise DivergedError(f"the loss is not finite ({loss.float().mean().item()}) since {where}: {cure}")


def _images(trainer: pl.Trainer, index: Any) -> str:
    """Return the paths of some images of a batch, rows int64 `(B,)` of the table of the data."""
    table = getattr(getattr(trainer, "datamodule", None), "table", None)
    if table is None or not isinstance(index, Tensor):
        return ""
    shown = ", ".join(str(table.paths[row]) for row in index[:SHOWN].tolist())
    return f", of the images {shown}{f' and {len(index) - SHOWN} more' if len(index) > SHOWN else ''}"
