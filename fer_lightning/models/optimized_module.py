"""How a step is taken: plain or recorded, clipped, and with which rates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from fer_lightning.core.errors import ConfigError
from fer_lightning.models.cuda_graph import StepGraph
from fer_lightning.models.schedules import scheduler_config


class OptimizedModule(pl.LightningModule):
    """A module that says what it learns from a batch; the rest of the training step is here.

    Args:
        optimizer: makes an optimizer from parameter groups.
        scheduler: makes a schedule from an optimizer; see `schedules.scheduler_config`; None for none.
        monitor: logged value that a plateau schedule watches.
        mode: `max` or `min` of it.
        cuda_graph: record forward and backward, and replay them as one launch.
    """

    def __init__(
        self,
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Callable[..., Any] | None,
        *,
        monitor: str,
        mode: str,
        cuda_graph: bool,
    ) -> None:
        super().__init__()
        self.optimizer, self.scheduler = optimizer, scheduler
        self._plateau = {"monitor": monitor, "mode": mode}
        self._recorded, self._replayed = cuda_graph, False
        self.graph: StepGraph | None = None

    @abstractmethod
    def loss_and_hits(self, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """Return the loss `()`, and further tensors, of images uint8 `(B, C, H, W)` and labels int64 `(B,)`."""

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return what the optimizer is made from."""

    def forward_backward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """Return what `loss_and_hits` returns, from the recording where there is one for this batch."""
        self._replayed = self.graph is not None and self.graph.takes(images, labels)
        return (self.graph if self._replayed else self.loss_and_hits)(images, labels)  # type: ignore[misc]

    def on_fit_start(self) -> None:
        if not self._recorded:
            return
        if self.device.type != "cuda":
            raise ConfigError(
                f"model.cuda_graph=true needs an NVIDIA GPU, not {self.device}: type model.cuda_graph=false"
            )
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        self.graph = StepGraph(self.loss_and_hits, learning)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        if not self._replayed:  # else the gradients are there
            super().backward(loss, *args, **kwargs)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        if not self._replayed:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        by_norm = gradient_clip_algorithm in (None, "norm", GradClipAlgorithmType.NORM)
        clip_norm = getattr(self.trainer.strategy, "clip_norm", None)  # where no rank knows the norm by itself
        if gradient_clip_val and by_norm and clip_norm is not None:
            clip_norm(gradient_clip_val)
            return
        plugin = self.trainer.precision_plugin
        if gradient_clip_val is None or not isinstance(plugin, MixedPrecision) or plugin.scaler is not None:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        # what all plugins do; this one refuses fused optimizers, for those unscale gradients, and bf16 scales none
        algorithm = "norm" if gradient_clip_algorithm is None else gradient_clip_algorithm
        Precision.clip_gradients(plugin, optimizer, gradient_clip_val, GradClipAlgorithmType(algorithm))

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        # Lightning would step a plateau schedule after the checkpoint is written, and a resumed run would miss the step
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def step_plateaus(self) -> None:
        """Let plateau schedules look at what was logged in this epoch."""
        for config in self.trainer.lr_scheduler_configs:
            value = self.trainer.callback_metrics.get(config.monitor or "")
            if isinstance(config.scheduler, ReduceLROnPlateau) and value is not None:
                config.scheduler.step(value)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.parameter_groups())
        if self.scheduler is None:
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        schedule = scheduler_config(self.scheduler, optimizer, total_steps=steps, **self._plateau)
        return {"optimizer": optimizer, "lr_scheduler": schedule}
